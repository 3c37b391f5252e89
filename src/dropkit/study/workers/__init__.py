"""Who carries out trainings: this machine's processes, or a Ray cluster."""

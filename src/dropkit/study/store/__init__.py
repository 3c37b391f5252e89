"""Store finished runs in a run folder; every file is written atomically."""

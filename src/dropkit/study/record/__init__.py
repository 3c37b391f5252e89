"""What a study measured, and nothing else."""

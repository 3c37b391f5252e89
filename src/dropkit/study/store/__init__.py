"""The run folder: finished trainings, written whole or not at all."""

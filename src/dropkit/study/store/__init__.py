"""Store finished runs in a run folder, never partially."""

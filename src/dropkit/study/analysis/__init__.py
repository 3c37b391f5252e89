"""Statistics, summary, alerts and verdict of what a study measured."""

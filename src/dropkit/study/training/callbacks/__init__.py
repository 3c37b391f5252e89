"""Callbacks that apply a `TrainingRun` in the trainers of other libraries."""

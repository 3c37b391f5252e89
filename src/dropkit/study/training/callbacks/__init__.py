"""Callbacks that apply a `Trial` in the trainers of other libraries."""

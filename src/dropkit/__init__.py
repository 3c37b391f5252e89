"""Dropout, and the regularization around it, for PyTorch."""

__version__ = "0.1.0"

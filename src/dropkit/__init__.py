"""Dropout, and the regularization around it, for PyTorch."""

from dropkit.constrain import max_norm_
from dropkit.noise import Dropout, GaussianDropout, GaussianNoise
from dropkit.scaling import from_classic, to_classic
from dropkit.surgery import insert, replace, strip

__version__ = "0.1.0"

__all__ = [
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "from_classic",
    "insert",
    "max_norm_",
    "replace",
    "strip",
    "to_classic",
]

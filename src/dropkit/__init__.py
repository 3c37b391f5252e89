"""Dropout, and the regularization around it, for PyTorch."""

from dropkit._doctor import doctor
from dropkit.constrain import max_norm_
from dropkit.noise import Dropout, GaussianDropout, GaussianNoise
from dropkit.prediction import predict
from dropkit.prediction._averaging import compare_averaging, mean_network
from dropkit.prediction._sampling import sampling
from dropkit.scaling import from_classic, to_classic
from dropkit.surgery import insert, rates, replace, set_rates, strip, wrap
from dropkit.thinned import thin

__version__ = "0.1.0"

__all__ = [
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "compare_averaging",
    "doctor",
    "from_classic",
    "insert",
    "max_norm_",
    "mean_network",
    "predict",
    "rates",
    "replace",
    "sampling",
    "set_rates",
    "strip",
    "thin",
    "to_classic",
    "wrap",
]

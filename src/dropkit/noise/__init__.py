"""Noise layers, one variant a file; every layer derives from ``Noise``."""

from dropkit.noise._base import MultiplicativeNoise, Noise
from dropkit.noise.dropout import Dropout
from dropkit.noise.gaussian_dropout import GaussianDropout
from dropkit.noise.gaussian_noise import GaussianNoise

__all__ = ["Dropout", "GaussianDropout", "GaussianNoise", "MultiplicativeNoise", "Noise"]

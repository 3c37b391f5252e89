"""The operations behind the layers, as functions."""

from dropkit.noise.dropout import dropout
from dropkit.noise.gaussian_dropout import gaussian_dropout
from dropkit.noise.gaussian_noise import gaussian_noise

__all__ = ["dropout", "gaussian_dropout", "gaussian_noise"]

"""Predict with dropout on: Monte-Carlo samples, the sampling mode, weight averaging."""

from dropkit._moments import Prediction
from dropkit.prediction._averaging import Comparison, compare_averaging, mean_network
from dropkit.prediction._frozen import frozen_masks
from dropkit.prediction._predict import checkpoints, predict
from dropkit.prediction._sampling import sampling

__all__ = [
    "Comparison",
    "Prediction",
    "checkpoints",
    "compare_averaging",
    "frozen_masks",
    "mean_network",
    "predict",
    "sampling",
]

"""Train faster with dropout, by leaving dropped units out of the matrix products."""

from dropkit.thinned._lazy import LazyOptimizer
from dropkit.thinned._noise import GradientNoise, choose_groups, gradient_noise
from dropkit.thinned._thin import Plan, thin

__all__ = ["GradientNoise", "LazyOptimizer", "Plan", "choose_groups", "gradient_noise", "thin"]

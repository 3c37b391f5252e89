"""The penalties in the paper's table of regularizers, except L2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def l1(net: nn.Module, coefficient: float) -> Tensor:
    """Return ``coefficient · Σ|w|`` over the weights, without biases."""
    return coefficient * torch.stack([w.abs().sum() for w in net.parameters() if w.ndim > 1]).sum()


class KLSparsity:
    """Penalize the distance of the hidden units' mean activity from a small target.

    ``weight · Σ_j KL(ρ ‖ a_j)`` with ``KL(ρ ‖ a) = ρ·log(ρ/a) + (1 − ρ)·log((1 − ρ)/(1 − a))``,
    where a_j is the batch mean of ``1 − exp(−h_j)``. The divergence needs probabilities, but the
    ReLU output h_j has no upper limit; so h_j is mapped to [0, 1) first. How the paper does this is
    unknown.

    Args:
        net: the network; the penalty uses its ReLU layers in training.
        weight: weight of the penalty.
        target: ρ, the target activity.
    """

    def __init__(self, net: nn.Module, weight: float, target: float = 0.05) -> None:
        self.weight, self.target = weight, target
        self._seen: list[Tensor] = []
        for layer in net.modules():
            if isinstance(layer, nn.ReLU):
                layer.register_forward_hook(self._watch)

    def _watch(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        if layer.training:
            self._seen.append(output)

    def __call__(self, net: nn.Module) -> Tensor:
        """Return the penalty of the last forward pass."""
        penalties = [divergence(-torch.expm1(-h).mean(0), self.target) for h in self._seen]
        self._seen = []
        return self.weight * torch.stack(penalties).sum()


def divergence(activity: Tensor, target: float) -> Tensor:
    """Return ``Σ_j KL(ρ ‖ a_j)``; an activity below 10⁻⁶ counts as 10⁻⁶."""
    a = activity.clamp(1e-6, 1 - 1e-6)
    rho = torch.tensor(target, dtype=a.dtype)
    return (rho * (rho / a).log() + (1 - rho) * ((1 - rho) / (1 - a)).log()).sum()

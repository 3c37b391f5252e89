"""Define stochastic gradient descent with momentum, with the results of ``torch.optim.SGD``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.sgd import sgd


class SGD:
    """SGD with momentum: ``g ← g + λ·w; v ← m·v + g; w ← w − lr·v``.

    Here w is a weight, g its gradient, v its velocity, λ the weight decay and m the momentum.

    Creating a ``torch.optim.SGD`` imports torch's compiler, which can take longer than a small
    training. This class calls the same arithmetic function without that import.

    Args:
        groups: the parameter groups, each with ``params``. By default ``lr``, ``momentum``,
            ``weight_decay`` and ``dampening`` are 0, and ``nesterov`` is false. All of these may be
            changed in `param_groups` between steps.
    """

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        usual = dict.fromkeys(("lr", "momentum", "weight_decay", "dampening"), 0.0)
        usual["nesterov"] = False
        self.param_groups = [usual | group for group in groups]
        self._velocity: dict[Tensor, Tensor | None] = {}

    def zero_grad(self) -> None:
        """Set all gradients to ``None``."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            chosen = [parameter for parameter in group["params"] if parameter.grad is not None]
            velocity = [self._velocity.get(parameter) for parameter in chosen]
            gradients = [parameter.grad for parameter in chosen]
            sgd(
                chosen,
                gradients,
                velocity,
                has_sparse_grad=any(gradient.is_sparse for gradient in gradients),
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
            )
            self._velocity.update(zip(chosen, velocity, strict=True))

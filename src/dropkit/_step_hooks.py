"""Call a function at the end of each optimizer step in a training loop of another library."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from dropkit.thinned import LazyOptimizer


def call_after_steps(
    optimizers: Iterable[Optimizer], act: Callable[[], object]
) -> list[RemovableHandle]:
    """Call ``act`` at the end of every step of these optimizers.

    The call is part of the step. So ``act`` is not called while gradients accumulate, or in a step
    that loss scaling skips. Weights are averaged after the call.
    """

    def call(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # The loss scaler calls a fused optimizer even for a step to skip, and sets found_inf.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not found_inf.item():
            act()

    return [unwrap_optimizer(optimizer).register_step_post_hook(call) for optimizer in optimizers]


def remove(hooks: list[RemovableHandle]) -> None:
    """Remove hooks, and clear the list."""
    while hooks:
        hooks.pop().remove()


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside a library's wrapper.

    ``LazyOptimizer`` is not unwrapped, because its step ends after the step of the inner optimizer.
    """
    while not isinstance(optimizer, LazyOptimizer) and isinstance(
        inner := getattr(optimizer, "optimizer", None), Optimizer
    ):
        optimizer = inner
    return optimizer


def optimizers_of(owner: object) -> list[Optimizer]:
    """Return the optimizers among an object's attributes, each unwrapped."""
    return [
        unwrap_optimizer(value) for value in vars(owner).values() if isinstance(value, Optimizer)
    ]

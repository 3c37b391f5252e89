"""Make the steps of optimizers that someone else drives end with a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from dropkit.thinned import Lazy


def call_after_steps(
    optimizers: Iterable[Optimizer], act: Callable[[], object]
) -> list[RemovableHandle]:
    """Make every step of these optimizers end with a call.

    It is a part of the step. So it happens once for each real step however many batches that
    gathers, not in one that loss scaling skips, and before whoever averages the weights afterwards
    sees them.
    """

    def call(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        # Fused optimizers are called in steps to skip as well, and told so by the loss scaler.
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is None or not found_inf.item():
            act()

    return [unwrap_optimizer(optimizer).register_step_post_hook(call) for optimizer in optimizers]


def remove(hooks: list[RemovableHandle]) -> None:
    """Take hooks away, and out of the list."""
    while hooks:
        hooks.pop().remove()


def unwrap_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer inside the one that a library wraps around it.

    Not the one inside ``Lazy``, whose step ends after that one's.
    """
    while not isinstance(optimizer, Lazy) and isinstance(
        inner := getattr(optimizer, "optimizer", None), Optimizer
    ):
        optimizer = inner
    return optimizer


def optimizers_of(owner: object) -> list[Optimizer]:
    """Return the optimizers among an object's attributes, each unwrapped."""
    return [
        unwrap_optimizer(value) for value in vars(owner).values() if isinstance(value, Optimizer)
    ]

"""Add noise to the inputs of a model in a user's own training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from dropkit.errors import StudyError


class _InputNoise:
    """A forward hook that passes a model's first input through layers in training mode."""

    def __init__(self, layers: nn.Module) -> None:
        self.layers = layers.train()

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if not module.training:
            return None
        if args:
            return (self._apply(args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))
        return args, kwargs | {name: self._apply(kwargs[name])}

    def _apply(self, first: Any) -> Any:
        if not isinstance(first, Tensor) or not first.is_floating_point():
            kind = str(first.dtype) if isinstance(first, Tensor) else type(first).__name__
            raise StudyError(
                f"inputs can be dropped or made noisy only where the model's first input is a "
                f"tensor of floats, got {kind}; leave inputs as they are; for dropout, set "
                "input=0"
            )
        return self.layers(first)


def add_input_noise(model: nn.Module, makers: Sequence[Callable[[], nn.Module]]) -> None:
    """Make the model pass its first input through new layers in training; ``makers`` make them."""
    if makers:
        layers = nn.Sequential(*(make() for make in makers))
        model.register_forward_pre_hook(_InputNoise(layers), with_kwargs=True)

"""Layers that stand in for others must be called, where torch may read what it knew instead."""

from typing import Any

from torch import Tensor, nn


class Around(nn.Module):
    """Base of the variants that hold a layer in ``layer`` and are called in its place.

    They show its weight and bias: ``nn.TransformerEncoder`` reads those of its linear layers in
    evaluation with a padding mask, before it asks whether it may do without calling them.
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        must_be_called(self)
        self.layer = layer

    @property
    def weight(self) -> Tensor:
        """The layer's weight."""
        return self.layer.weight  # type: ignore[return-value]

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias."""
        return self.layer.bias  # type: ignore[return-value]


def must_be_called(layer: nn.Module) -> None:
    """Keep ``nn.TransformerEncoderLayer`` from passing a layer inside it by.

    In evaluation it hands the weights of its own linear layers, and the activation that it was
    made with, to a fused kernel, unless a module inside it has a hook.
    """
    layer.register_forward_hook(_nothing)


def _nothing(*_: Any) -> None:
    """Leave the output as it is; a function of a module, so that copies and pickles have it."""

"""Layers that stand in for others must be called, where torch may read what it knew instead."""

from typing import Any

from torch import nn


def must_be_called(layer: nn.Module) -> None:
    """Keep ``nn.TransformerEncoderLayer`` from passing a layer inside it by.

    In evaluation it hands the weights of its own linear layers, and the activation that it was
    made with, to a fused kernel, unless a module inside it has a hook.
    """
    layer.register_forward_hook(_nothing)


def _nothing(*_: Any) -> None:
    """Leave the output as it is; a function of a module, so that copies and pickles have it."""

"""Base classes of variants that replace a layer: they must be called, and expose its attributes."""

from typing import Any, ClassVar

from torch import nn

from dropkit.noise._base import HoldsNoise


class Showing(nn.Module, HoldsNoise):
    """Base of the variants that hold a layer: what they lack themselves they show of it.

    So code that reads attributes of the layer, such as ``self.lstm.num_layers`` or the weight that
    ``F.linear(h, self.embedding.weight)`` ties, finds them in the variant. The layer's own modules
    are not shown (a layer put after it is not put after the variant), nor names with an underscore.
    """

    _held: ClassVar[str] = "layer"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            held = self.__dict__.get("_modules", {}).get(self._held)
            shown = not name.startswith("_") and name not in getattr(held, "_modules", ())
            if not (shown and hasattr(held, name)):
                raise
            return getattr(held, name)


class Around(Showing):
    """Base of the variants that hold a layer in ``layer`` and are called in its place.

    They show its weight and bias too, which ``nn.TransformerEncoder`` reads in evaluation with a
    padding mask, before it asks whether it may do without calling its linear layers.
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        must_be_called(self)
        self.layer = layer


def must_be_called(layer: nn.Module) -> None:
    """Make ``nn.TransformerEncoderLayer`` call a layer inside it.

    In evaluation it passes the weights of its linear layers and its activation to a fused kernel,
    unless a module inside it has a hook.
    """
    layer.register_forward_hook(_nothing)


def _nothing(*_: Any) -> None:
    """Leave the output as it is; a function of a module, so that copies and pickles have it."""

"""Base classes of variants that wrap a layer and expose the layer's attributes."""

from typing import Any, ClassVar

from torch import nn

from dropkit.noise._base import HoldsNoise


class Showing(nn.Module, HoldsNoise):
    """Base class of variants that wrap a layer and look up missing attributes in that layer.

    So code that reads attributes of the layer, such as ``self.lstm.num_layers`` or the tied weight
    in ``F.linear(h, self.embedding.weight)``, finds them in the variant. Names with a leading
    underscore and the layer's child modules are not looked up: a layer inserted after the wrapped
    layer must not appear as inserted after the variant.
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
    """Base class of variants that hold a layer in ``layer`` and are called instead of that layer.

    They also expose the layer's weight and bias. In evaluation with a padding mask,
    ``nn.TransformerEncoder`` reads both before it decides whether to call its linear layers.
    """

    layer: nn.Module

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        must_be_called(self)
        self.layer = layer


def must_be_called(layer: nn.Module) -> None:
    """Add an empty hook to a layer, so that ``nn.TransformerEncoderLayer`` calls the layer.

    In evaluation the encoder layer passes its weights and its activation to a fused kernel instead
    of calling its linear layers, unless a module inside the encoder layer has a hook.
    """
    layer.register_forward_hook(_nothing)


def _nothing(*_: Any) -> None:
    """Return None, which keeps the output. A module-level function can be copied and pickled."""

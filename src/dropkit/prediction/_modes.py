"""Warn about modules whose training mode does more than drop."""

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dropkit._draws import Draws
from dropkit._dropout_source import find_mode_reads, is_named_like_dropout
from dropkit._drops import is_classic, is_dropout_layer, is_variant
from dropkit._mode import module_modes
from dropkit._rounding import are_close
from dropkit._source import is_library

# Functions and methods that draw noise. Masks come from others, such as torch.rand.
_NOISE = re.compile(r"(randn|normal|exponential|cauchy|geometric|poisson|gamma)", re.IGNORECASE)


class _AtRateZero(TorchFunctionMode):
    """Make torch's dropout functions return their input, and its attention drop nothing.

    Attributes:
        noise: how often noise was drawn that is no dropout mask, such as ``torch.randn``.
    """

    noise = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "scaled_dot_product_attention":
            args, kwargs = args[:4] + (0.0,) * len(args[4:5]) + args[5:], kwargs | {}
            kwargs.pop("dropout_p", None)
        elif is_named_like_dropout(name):
            return args[0] if args else kwargs["input"]
        elif _NOISE.match(name.strip("_")):
            self.noise += 1
        return func(*args, **kwargs)


def check_modes(
    on: Mapping[str, nn.Module], run: Callable[[], Tensor], buffers: Collection[Tensor]
) -> None:
    """Warn about modules that compute something else in training mode, even at dropout rate 0.

    Args:
        on: the modules that are switched on, by name.
        run: runs the model in evaluation, and returns the tensor to average.
        buffers: the model's buffers, which are restored at the end.
    """
    own = {name: module for name, module in on.items() if _decides(module)}
    if not own:
        return
    before = [buffer.clone() for buffer in buffers]
    plain = _run_at_rate_zero({}, run)
    named = list(own) if _changes(own, run, plain) else []
    if named:
        named = [n for n, module in own.items() if _changes({n: module}, run, plain)] or named
    for buffer, was in zip(buffers, before, strict=True):
        buffer.copy_(was)
    if not named:
        return
    names = ", ".join(name or "the model" for name in named)
    warnings.warn(
        "these modules call dropout as a function, and training mode changes more than their "
        f"dropout: {names}. So the samples are not those of the model in evaluation. Give the "
        "modules an nn.Dropout, which is switched on alone",
        stacklevel=6,
    )


def _decides(module: nn.Module) -> bool:
    """Whether a module's own code reads its mode."""
    known = is_dropout_layer(module) or is_variant(module) or is_classic(module)
    return not known and not is_library(type(module).__module__)


@dataclass(frozen=True)
class _Trial:
    """A run at dropout rate 0: its output, whether it drew any numbers, and how often noise."""

    output: Tensor
    draws: bool
    noise: int


def _run_at_rate_zero(own: Mapping[str, nn.Module], run: Callable[[], Tensor]) -> _Trial | None:
    """Run with these modules in training mode; return None if they do not support this mode."""
    try:
        modes = module_modes(own.values(), training=True)
        with modes, _AtRateZero() as functions, Draws() as draws:
            return _Trial(run(), any(draws.sizes), functions.noise)
    except Exception:  # the prediction itself will raise this error
        return None


def _changes(own: Mapping[str, nn.Module], run: Callable[[], Tensor], plain: _Trial | None) -> bool:
    """Whether the output at rate 0 differs, or has more noise, if these modules are in training."""
    found = _run_at_rate_zero(own, run)
    if plain is None or found is None:
        return False
    kinds: list[Any] = [type(module) for module in own.values()]
    if found.noise > plain.noise and any("other" in find_mode_reads(kind) for kind in kinds):
        return True
    if plain.draws or found.draws:  # dropout by other means than torch's functions
        return False
    return not are_close(plain.output, found.output)

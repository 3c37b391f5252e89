"""Switch dropout on for prediction, and leave all other modules in their mode."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from dropkit._drops import drops_by_own_flag, is_scripted

__all__ = ["Switches", "sampling"]

_LOCK = threading.Lock()
#: For each module that is switched on: the number of open blocks, and the mode to restore.
_held: dict[nn.Module, tuple[int, bool]] = {}


@dataclass(frozen=True)
class Switches:
    """The modules whose dropout ``sampling`` switched on, and those that it left off.

    Attributes:
        switched_on: names of these modules; the model itself has the name ``""``.
        left: names of modules that may drop but were not switched on, each with the reason.
    """

    switched_on: tuple[str, ...]
    left: tuple[str, ...] = ()


@contextmanager
def sampling(model: nn.Module, *, extra_modules: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Switch on all dropout of a model within a ``with`` block; other modules keep their mode.

    This switches on dropout layers (torch's and dropkit's), ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``
    with dropout between layers, ``nn.MultiheadAttention`` with dropout, and
    ``nn.TransformerEncoderLayer``, whose fast path in evaluation skips its dropout. Your own module
    may call dropout as a function, such as ``F.dropout(x, training=self.training)`` or
    ``dropout_p=self.dropout if self.training else 0.0``. Such a module is recognized by its source
    code: a statement that reads ``self.training`` and contains a name with "drop". The module
    itself is then switched on, but its children are not. Every other module, such as batch
    normalization, keeps its mode.

    Calling ``model.eval()`` inside the block does not end the sampling, unless ``torch.jit`` made
    the model. Blocks on one model may be nested, and may overlap in several threads: dropout is on
    until the last block ends. Until then, calls of the model in all threads drop units. ``predict``
    switches a copy and does not affect other threads.

    Args:
        model: any module, also a dropout layer itself.
        extra_modules: additional modules of ``model`` to switch on, for dropout that is not
            recognized.

    Returns:
        A context manager that returns the `Switches`. At the end of the block, and after an error,
        the modules get their previous mode back.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: a module in ``extra_modules`` is not part of the model.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    >>> with sampling(net) as switches:
    ...     print(switches.switched_on, [layer.training for layer in net])
    ('2',) [False, False, True]
    >>> net[2].training
    False

    Reference: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016).
    """
    with switch_on(model, extra_modules) as switches:
        modules = [module for name, module in model.named_modules() if name in switches.switched_on]
        if is_scripted(model):  # torch.jit modules do not support this hook
            yield switches
            return
        # Code inside the block may call model.eval() first.
        hook = model.register_forward_pre_hook(lambda *_: _switch_again(modules))
        try:
            yield switches
        finally:
            hook.remove()


@contextmanager
def switch_on(model: nn.Module, extra_modules: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Switch dropout on as ``sampling`` does, but let ``model.eval()`` switch it off again."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    on, left = _find(model, extra_modules)
    with _LOCK:
        for module in on.values():
            count, mode = _held.get(module, (0, module.training))
            _held[module] = count + 1, mode
            module.training = True
    try:
        yield Switches(tuple(on), tuple(f"{name}: {reason}" for name, reason in left.items()))
    finally:
        with _LOCK:
            for module in on.values():
                count, mode = _held.pop(module)
                if count > 1:
                    _held[module] = count - 1, mode
                else:
                    module.training = mode


def _switch_again(modules: Collection[nn.Module]) -> None:
    """Switch modules on again, except those whose last block has just ended."""
    with _LOCK:
        for module in modules:
            if module in _held:
                module.training = True


def _find(
    model: nn.Module, extra_modules: Collection[nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    on: dict[str, nn.Module] = {}
    left: dict[str, str] = {}
    more = set(extra_modules)
    for name, module in model.named_modules():
        use = drops_by_own_flag(module)
        if module in more or use is True:
            on[name] = module
        elif use:
            left[name] = use
    strangers = more - set(on.values())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(
            f"extra_modules=[...] must hold modules of the model, but these are not in it: {kinds}"
        )
    return on, left

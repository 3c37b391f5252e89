"""Switch dropout on for prediction, and leave all other modules in their mode."""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from dropkit._drops import drops_by_own_flag, is_scripted

__all__ = ["Switches", "sampling"]

_LOCK = threading.Lock()
#: Modules that are switched on: how many blocks want them so, and the mode to give back.
_held: dict[nn.Module, tuple[int, bool]] = {}


@dataclass(frozen=True)
class Switches:
    """The modules that ``sampling`` switched on.

    Attributes:
        on: names of the modules switched on, the model itself as ``""``.
        left: names of modules that may drop but were not switched on, each with the reason.
    """

    on: tuple[str, ...]
    left: tuple[str, ...] = ()


@contextmanager
def sampling(model: nn.Module, *, also: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Switch on all dropout of a model, and nothing else, within a ``with`` block.

    This switches on dropout layers (torch's and dropkit's), ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN``
    with dropout between layers, ``nn.MultiheadAttention`` with dropout, and
    ``nn.TransformerEncoderLayer``, whose fast path in evaluation skips its dropout. Your own module
    that calls dropout as a function, ``F.dropout(x, training=self.training)`` or
    ``dropout_p=self.dropout if self.training else 0.0``, is recognized by its source: the module
    itself, but not its children, is switched on if it reads ``self.training`` in a statement with a
    name that contains "drop". Every other module, such as batch normalization, keeps its mode.

    Calling ``model.eval()`` inside the block does not end the sampling, unless ``torch.jit`` made
    the model. Blocks on one model may be nested, and may overlap in several threads: dropout is on
    until the last block ends. During that time, calls of the model in all threads drop units.
    ``predict`` switches a copy and does not affect other threads.

    Args:
        model: any module, also a dropout layer itself.
        also: further modules of ``model`` to switch on, for dropout that is not recognized.

    Returns:
        A context manager that returns the `Switches`. At its end, and after an error, the modules
        get their previous mode back.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: a module in ``also`` is not part of the model.

    >>> net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    >>> with sampling(net) as switches:
    ...     print(switches.on, [layer.training for layer in net])
    ('2',) [False, False, True]
    >>> net[2].training
    False

    Reference: Gal & Ghahramani, "Dropout as a Bayesian approximation" (2016).
    """
    with switch_on(model, also) as switches:
        modules = [module for name, module in model.named_modules() if name in switches.on]
        if is_scripted(model):  # takes no hook
            yield switches
            return
        # Code run inside the block may well begin with model.eval().
        hook = model.register_forward_pre_hook(lambda *_: _switch_again(modules))
        try:
            yield switches
        finally:
            hook.remove()


@contextmanager
def switch_on(model: nn.Module, also: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Do what ``sampling`` does without surviving ``model.eval()``, and so without a hook."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    on, left = _find(model, also)
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
    """Switch on what blocks hold, and nothing that the last of them has just given back."""
    with _LOCK:
        for module in modules:
            if module in _held:
                module.training = True


def _find(
    model: nn.Module, also: Collection[nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    on: dict[str, nn.Module] = {}
    left: dict[str, str] = {}
    more = set(also)
    for name, module in model.named_modules():
        use = drops_by_own_flag(module)
        if module in more or use is True:
            on[name] = module
        elif use:
            left[name] = use
    strangers = more - set(on.values())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(f"also must hold modules of the model, but these are not in it: {kinds}")
    return on, left

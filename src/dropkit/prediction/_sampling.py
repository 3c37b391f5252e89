"""Dropout on for prediction: which modules draw, switched on apart from the mode of the rest."""

import ast
import inspect
import re
import textwrap
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from dropkit.noise import Noise

__all__ = ["Switches", "sampling"]

_DROPS = re.compile(r"drop|stochastic_?depth", re.IGNORECASE)


@dataclass(frozen=True)
class Switches:
    """What ``sampling`` did to a model.

    Attributes:
        on: names of the modules switched on, the model itself as ``""``.
        left: names of modules that may drop and stay as they are, each with the reason.
    """

    on: tuple[str, ...]
    left: tuple[str, ...] = ()


@contextmanager
def sampling(model: nn.Module, *, also: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Switch every dropout of a model on, and nothing else, for the time of a ``with`` block.

    On are dropout layers (torch's and dropkit's), ``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` with
    dropout between layers, ``nn.MultiheadAttention`` with dropout, and
    ``nn.TransformerEncoderLayer``, whose fast path in evaluation skips its dropout. A module of
    your own that calls dropout as a function, ``F.dropout(x, training=self.training)`` or
    ``dropout_p=self.dropout if self.training else 0.0``, is known by its source: it is switched
    on, itself and not its children, if it reads ``self.training`` in a statement that names
    something with "drop" in it. Every other module, batch normalization above all, keeps its mode.

    Calling ``model.eval()`` inside the block does not end the sampling.

    Args:
        model: any module, also a dropout layer itself.
        also: further modules of ``model`` to switch on, for dropout that cannot be seen.

    Returns:
        A context manager that gives the `Switches`. At its end, and after an error, the
        modules switched on have the mode they had before.

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
    with switched(model, also) as switches:
        modules = [model.get_submodule(name) for name in switches.on]
        # Code run inside the block may well begin with model.eval().
        hook = model.register_forward_pre_hook(lambda *_: _set(modules))
        try:
            yield switches
        finally:
            hook.remove()


@contextmanager
def switched(model: nn.Module, also: Collection[nn.Module] = ()) -> Iterator[Switches]:
    """Do what ``sampling`` does without surviving ``model.eval()``, and so without a hook."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    on, left = _find(model, also)
    before = [(module, module.training) for module in on.values()]
    _set([module for module, _ in before])
    try:
        yield Switches(tuple(on), tuple(f"{name}: {reason}" for name, reason in left.items()))
    finally:
        for module, mode in before:
            module.training = mode


def _set(modules: Collection[nn.Module]) -> None:
    for module in modules:
        module.training = True


def _find(
    model: nn.Module, also: Collection[nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    on: dict[str, nn.Module] = {}
    left: dict[str, str] = {}
    more = set(also)
    for name, module in model.named_modules():
        use = _use(module)
        if module in more or use is True:
            on[name] = module
        elif use:
            left[name] = use
    strangers = more - set(on.values())
    if strangers:
        kinds = ", ".join(sorted(type(module).__name__ for module in strangers))
        raise ValueError(f"also must hold modules of the model, but these are not in it: {kinds}")
    return on, left


def _use(module: nn.Module) -> bool | str:
    """Whether a module drops while its own flag is on; a reason if that is not known."""
    if isinstance(module, Noise | _DropoutNd | nn.TransformerEncoderLayer):
        return True
    if isinstance(module, nn.RNNBase) and module.dropout > 0:
        if module.num_layers > 1:
            return True
        return f"dropout={module.dropout} acts between layers, and there is only one"
    if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
        return True
    if isinstance(module, _NormBase):
        return False
    match _reading(type(module)):  # type: ignore[arg-type]  # mypy takes the instances' hash
        case "drops":
            return True
        case "other":
            return "reads self.training, not visibly for dropout; if it drops, give it in also"
        case "unknown":
            return "reads self.training and has no source to look at; if it drops, give it in also"
        case _:
            return False


@cache
def _reading(kind: type[nn.Module]) -> Literal["drops", "other", "unknown", "never"]:
    """For what a class, where its type says nothing, reads ``self.training`` in its code."""
    found: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith(("torch.", "dropkit.noise.", "builtins")):
            continue  # known by their types, or by the noise that they hold
        functions = [value for value in vars(base).values() if inspect.isfunction(value)]
        codes = [inspect.unwrap(function).__code__ for function in functions]
        if not any("training" in code.co_names for code in codes):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):
            found.add("unknown")
            continue
        for statement in filter(_reads_training, ast.walk(tree)):
            names = {base.__name__, *_names(statement)}
            found.add("drops" if any(map(_DROPS.search, names)) else "other")
    if "drops" in found:
        return "drops"
    if "other" in found:
        return "other"
    return "unknown" if found else "never"


def _reads_training(statement: ast.AST) -> bool:
    """Whether it is a simple statement that reads ``.training``, or an ``if`` on it."""
    if isinstance(statement, ast.If):
        return _reads_training(ast.Expr(statement.test))
    return (
        isinstance(statement, ast.stmt)
        and not hasattr(statement, "body")
        and any(
            isinstance(node, ast.Attribute)
            and node.attr == "training"
            and isinstance(node.ctx, ast.Load)
            for node in ast.walk(statement)
        )
    )


def _names(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
                names.add(name)
    return names

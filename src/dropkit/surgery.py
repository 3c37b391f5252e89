"""Put dropout layers into a model, exchange them, take them out, list them.

Every function works on a copy unless told otherwise, keeps weights, dtype, device, mode and
``state_dict`` keys, treats shared modules as one, and says what it changed.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.rnn import PackedSequence

from dropkit._graph import AFTER, trace
from dropkit.noise import Noise

__all__ = ["Report", "dropout_layers", "insert", "replace", "strip"]

Model = TypeVar("Model", bound=nn.Module)
Layer = nn.Module | Callable[[], nn.Module]
Selection = type[nn.Module] | tuple[type[nn.Module], ...] | str | Callable[[str, nn.Module], bool]

# Softmax is absent: it makes probabilities, of a class or of attention, not hidden units.
_ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.RReLU, nn.SELU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What an operation did to a model.

    Attributes:
        changed: the places it changed, as dotted names.
        left: the places that qualified and were left alone, each with the reason.
    """

    changed: tuple[str, ...]
    left: tuple[str, ...] = ()


def dropout_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """List the dropout layers of a model: torch's and dropkit's, each once, with its name.

    >>> dropout_layers(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)))
    [('1', Dropout(p=0.5, inplace=False))]
    """
    return [(name, module) for name, module in model.named_modules() if _is_dropout(module)]


def insert(
    model: Model, layer: Layer, *, after: Selection | None = None, copy: bool = True
) -> tuple[Model, Report]:
    """Put a layer after every activation, or after the modules selected.

    The layer becomes a child named ``after`` of the module it follows and acts on whatever that
    returns (on the first entry of a tuple), wherever the module is called. So the module keeps
    its type and its attributes, and the model its ``state_dict`` keys.

    Args:
        model: any module.
        layer: a module, of which every place gets its own copy, or a function that makes one.
        after: which modules to follow: a type or several, a pattern of dotted names such as
            ``"encoder.*.linear1"``, or a function of (name, module). By default the activation
            modules, except one that makes the model's output: there are no further units to
            regularize.
        copy: work on a deep copy; otherwise on ``model`` itself.

    Returns:
        The model and the :class:`Report`.

    Raises:
        ValueError: if no module matched (activations called as functions, such as ``F.relu(x)``,
            are no modules), or one of them has a layer after it already.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Sigmoid())
    >>> net, report = insert(net, nn.Dropout(0.5))
    >>> report
    Report(changed=('1',), left=("3: makes the model's output",))
    >>> net[1]
    ReLU(
      (after): Dropout(p=0.5, inplace=False)
    )
    """
    model = deepcopy(model) if copy else model
    if after is None:
        places = {n: m for n, m in model.named_modules() if isinstance(m, _ACTIVATIONS)}
        left = dict.fromkeys(_outputs(model) & places.keys(), "makes the model's output")
    else:
        places = {n: m for n, m in model.named_modules() if _matches(after, n, m)}
        left = dict.fromkeys(
            _uncalled(model) & places.keys(), "is not called: attention reads its weights"
        )
    chosen = {name: module for name, module in places.items() if name not in left}
    if not chosen:
        raise ValueError(_nothing_matched(model, after, left))
    for name, module in chosen.items():
        if hasattr(module, AFTER):
            raise ValueError(
                f"{name or 'the model'} has a layer after it already; exchange it with replace, "
                "or insert nn.Sequential(...) to have several"
            )
    for module in chosen.values():
        module.add_module(AFTER, _new(layer, module))
        module.register_forward_hook(_apply_after)
    return model, Report(
        tuple(chosen), tuple(f"{name}: {left[name]}" for name in places if name in left)
    )


def replace(model: nn.Module, layer: Layer, *, copy: bool = True) -> tuple[nn.Module, Report]:
    """Put a layer in the place of every dropout layer, torch's and dropkit's.

    Args:
        model: any module, also a dropout layer itself.
        layer: a module, of which every place gets its own copy, or a function that makes one.
            Names of one shared layer share the new one too.
        copy: work on a deep copy; otherwise on ``model`` itself.

    Returns:
        The model and the :class:`Report`. Dropout that is a number inside ``nn.LSTM``,
        ``nn.MultiheadAttention`` and the like is left, and listed.

    Raises:
        ValueError: if there is no dropout layer.

    >>> from dropkit.noise import GaussianDropout
    >>> net, report = replace(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), GaussianDropout(0.2))
    >>> net[1], report.changed
    (GaussianDropout(p=0.2), ('1',))
    """
    model, changed = _exchange(deepcopy(model) if copy else model, layer)
    left = tuple(
        f"{name}: dropout={module.dropout} is a number inside {type(module).__name__}"
        for name, module in _with_inner_dropout(model)
    )
    if not changed:
        raise ValueError(_no_dropout(model, "put them in with insert", left))
    return model, Report(changed, left)


def strip(model: nn.Module, *, copy: bool = True) -> tuple[nn.Module, Report]:
    """Take dropout out: layers become ``nn.Identity``, numbers inside layers become 0.

    Args:
        model: any module, also a dropout layer itself.
        copy: work on a deep copy; otherwise on ``model`` itself.

    Returns:
        The model and the :class:`Report`.

    Raises:
        ValueError: if there is no dropout.

    >>> net, report = strip(nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.3), nn.Dropout(0.5)))
    >>> net[1], net[0].dropout, report.changed
    (Identity(), 0.0, ('1', '0'))
    """
    model, changed = _exchange(deepcopy(model) if copy else model, nn.Identity)
    for name, module in _with_inner_dropout(model):
        module.dropout = 0.0
        changed += (name,)
    if not changed:
        raise ValueError(_no_dropout(model, "there is nothing to take out", ()))
    return model, Report(changed)


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, _DropoutNd | Noise)


def _with_inner_dropout(model: nn.Module) -> list[tuple[str, Any]]:
    return [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.RNNBase | nn.MultiheadAttention) and module.dropout > 0
    ]


def _new(layer: Layer, place: nn.Module) -> nn.Module:
    made = deepcopy(layer) if isinstance(layer, nn.Module) else layer()
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"layer must be a module or a function that makes one, got {type(made).__name__}"
        )
    return made.train(place.training)


def _exchange(model: nn.Module, layer: Layer) -> tuple[nn.Module, tuple[str, ...]]:
    if _is_dropout(model):
        return _new(layer, model), ("",)
    new: dict[nn.Module, nn.Module] = {}
    changed = []
    for path, parent in list(model.named_modules()):
        # Not named_children(), which shows a shared layer under its first name only.
        for name, child in list(parent._modules.items()):
            if child is not None and _is_dropout(child):
                if child not in new:
                    new[child] = _new(layer, child)
                parent.add_module(name, new[child])
                changed.append(f"{path}.{name}" if path else name)
    return model, tuple(changed)


def _matches(selection: Selection, name: str, module: nn.Module) -> bool:
    if isinstance(selection, str):
        return fnmatchcase(name, selection)
    if isinstance(selection, type | tuple):
        return isinstance(module, selection)
    return selection(name, module)


def _uncalled(model: nn.Module) -> set[str]:
    """Names of the projections that attention computes without calling them."""
    return {
        f"{name}.out_proj" if name else "out_proj"
        for name, module in model.named_modules()
        if isinstance(module, nn.MultiheadAttention)
    }


def _outputs(model: nn.Module) -> set[str]:
    """Names of the modules that make the output, by the order of calls where it can be read."""
    names = {module: name for name, module in model.named_modules()}
    try:
        graph = trace(model)
    except ValueError:
        # The order of registration is the next best guess.
        return {[name for name, module in model.named_modules() if not module._modules][-1]}
    found = set()
    pending = [*graph.output_node().all_input_nodes]
    while pending:
        node = pending.pop()
        module = model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if module is not None and not _passes(module):
            found.add(names[module])
        else:
            pending += node.all_input_nodes
    return found


def _passes(module: nn.Module) -> bool:
    """Whether a module hands its input on, unit by unit."""
    shapes = nn.Identity | nn.Flatten | nn.Unflatten
    return isinstance(module, shapes) or _is_dropout(module)


def _apply_after(module: nn.Module, inputs: Any, output: Any) -> Any:
    return _on_first(module._modules[AFTER], output)


def _on_first(layer: Any, output: Any) -> Any:
    """Apply the layer to a tensor, or to the first entry of a tuple, to any depth."""
    if isinstance(output, PackedSequence):
        return output._replace(data=layer(output.data))
    if isinstance(output, tuple):
        return (_on_first(layer, output[0]), *output[1:])
    return layer(output)


def _nothing_matched(model: nn.Module, after: Selection | None, left: dict[str, str]) -> str:
    kind = type(model).__name__
    if after is not None:
        reasons = "".join(f"; {name} {reason}" for name, reason in left.items())
        return (
            f"after must select modules of {kind}, but {after!r} selects none{reasons}; "
            "their names are those of model.named_modules()"
        )
    return (
        f"{kind} must hold an activation module before its output, but it has none; activations "
        "called as functions, such as F.relu(x), cannot be found: add nn.Dropout layers where "
        "you want them, or name the modules to follow with after=..."
    )


def _no_dropout(model: nn.Module, advice: str, left: tuple[str, ...]) -> str:
    reasons = "".join(f"; {line}" for line in left)
    return (
        f"{type(model).__name__} must hold a dropout layer, but it has none{reasons}; {advice}. "
        "Dropout called as a function, F.dropout(x), cannot be found"
    )

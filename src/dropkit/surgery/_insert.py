"""Put a layer after modules that have none."""

from collections.abc import Iterable
from copy import deepcopy
from functools import partial
from typing import TypeVar

from torch import nn

from dropkit._drops import is_dropout_layer
from dropkit._graph import AFTER, is_chain, trace
from dropkit.surgery._after import attach, detach
from dropkit.surgery._layer import Layer, new_layer
from dropkit.surgery._places import uncalled
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import Selection, selected

Model = TypeVar("Model", bound=nn.Module)

# Softmax is absent: it makes probabilities, of a class or of attention, not hidden units.
_ACTIVATIONS = (
    nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.RReLU, nn.SELU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_ACTIVATION_NAMES = {kind.__name__ for kind in _ACTIVATIONS}


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
        The model and the `Report`.

    Raises:
        ValueError: if no module matched (activations called as functions, such as ``F.relu(x)``,
            are no modules), or one of them has a layer after it already. A container with a
            forward pass of its own is left out: that may go through all that it holds.

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
        places = {n: m for n, m in model.named_modules() if _is_activation(m)}
        left = dict.fromkeys(_outputs(model) & places.keys(), "makes the model's output")
    else:
        places = selected(model, after)
        left = dict.fromkeys(
            uncalled(model) & places.keys(), "is not called: attention reads its weights"
        )
        left |= dict.fromkeys(
            (name for name, module in places.items() if _may_call_children(module)),
            "may call what it holds, so the new layer too; select a layer in it",
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
    new = {name: new_layer(layer, module, model) for name, module in chosen.items()}
    for name, module in chosen.items():
        attach(module, new[name])
    return model, Report(
        tuple(chosen),
        lines({name: left[name] for name in places if name in left}),
        partial(_take_out, names=tuple(chosen)),
    )


def _take_out(model: nn.Module, names: Iterable[str]) -> nn.Module:
    for module in [model.get_submodule(name) for name in names]:
        detach(module)
    return model


def _is_activation(module: nn.Module) -> bool:
    """Whether it is an activation of torch's, or one of another package by its name."""
    name = type(module).__name__
    named = name in _ACTIVATION_NAMES or name.endswith("Activation")
    return isinstance(module, _ACTIVATIONS) or (named and not module._modules.keys() - {AFTER})


def _may_call_children(module: nn.Module) -> bool:
    """Whether a container has a forward pass of its own, or none."""
    containers = nn.Sequential | nn.ModuleList | nn.ModuleDict
    return isinstance(module, containers) and not is_chain(module)


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
    return isinstance(module, nn.Identity | nn.Flatten | nn.Unflatten) or is_dropout_layer(module)


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

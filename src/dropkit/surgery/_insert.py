"""Insert a layer after modules."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn

from dropkit._copying import copy_model
from dropkit._drops import is_scripted
from dropkit._graph import AFTER, is_chain
from dropkit._reach import find_uncalled
from dropkit._uses import iterates_over_children
from dropkit.surgery._activations import find_activations
from dropkit.surgery._after import attach, detach, has_layer_after
from dropkit.surgery._layer import Layer, new_layer
from dropkit.surgery._outputs import find_outputs
from dropkit.surgery._report import Report, lines
from dropkit.surgery._select import Selection, selected
from dropkit.surgery._trial import find_not_called

Model = TypeVar("Model", bound=nn.Module)

# The end of an error message. A study removes this end, because a study has no setting ``after``.
OR_AFTER = ", or select the modules to follow with after=..."


def insert(
    model: Model,
    layer: Layer,
    *,
    after: Selection | None = None,
    example: Any = None,
    copy: bool = True,
) -> tuple[Model, Report]:
    """Insert a layer after every activation, or after the selected modules.

    The layer becomes a child named ``after`` of the module that it follows, and processes the
    module's output at every call. If the output is a tuple or a mapping, the layer processes the
    first tensor. The module keeps its type and attributes, and the model keeps its ``state_dict``
    keys.

    Args:
        model: any module.
        layer: a module, which is copied for each place, or a function that creates one.
        after: which modules to follow: one type or several, a pattern of dotted names such as
            ``"encoder.*.linear1"``, or a function of (name, module). By default all activation
            modules, except one that computes the model's output, because only hidden units are
            dropped.
        example: inputs of the model: a tensor, a tuple of positional arguments or a mapping of
            keyword arguments. A copy of the model runs on these inputs once in training and once in
            evaluation; nothing is inserted after modules that are not called. By default dropkit
            only reads the source code of the model, which does not show which branch runs.
        copy: whether to change a deep copy; otherwise ``model`` itself changes.

    Returns:
        The model and the `Report`. ``report.left`` lists the modules after which nothing was
        inserted, each with the reason. By default, these include activations that compute the
        model's output. They also include modules that are never called, modules compiled by
        ``torch.jit``, and modules that already have an attribute ``after``. A container with its
        own forward pass is left out, too, because it may iterate over its children, and so call
        the new layer a second time.

    Raises:
        ValueError: if no module matches (activations called as functions, such as ``F.relu(x)``,
            are not modules); if a module already has a layer after it; if the model cannot be
            copied, or fails on the example.

    Compiled code does not notice new hooks. So the function discards all code compiled by
    ``torch.compile``, of any model, and the next call recompiles.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Sigmoid())
    >>> net, report = insert(net, nn.Dropout(0.5))
    >>> report
    Report(changed=('1',), left=("3: makes the model's output",))
    >>> net[1]
    ReLU(
      (after): Dropout(p=0.5, inplace=False)
    )
    """
    model = copy_model(model) if copy else model
    places = find_activations(model) if after is None else selected(model, after)
    left = _reasons(model, places, by_default=after is None)
    if example is not None:
        idle = find_not_called(model, example)
        left |= {name: idle[name] for name in places if name in idle and name not in left}
    chosen = {name: module for name, module in places.items() if name not in left}
    if not chosen:
        raise ValueError(_describe_no_match(model, after, left))
    for name, module in chosen.items():
        if has_layer_after(module):
            raise ValueError(
                f"{name or 'the model'} has a layer after it already; exchange it with replace, "
                "or insert nn.Sequential(...) to have several"
            )
    new = {name: new_layer(layer, module, model) for name, module in chosen.items()}
    for name, module in chosen.items():
        attach(module, new[name])
    _forget_compiled_code()
    return model, Report(tuple(chosen), lines(left), partial(_take_out, names=tuple(chosen)))


def _take_out(model: nn.Module, names: Iterable[str]) -> nn.Module:
    for module in [model.get_submodule(name) for name in names]:
        detach(module)
    _forget_compiled_code()
    return model


def _forget_compiled_code() -> None:
    """Make ``torch.compile`` recompile, because compiled code ignores new and removed hooks."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def _reasons(model: nn.Module, places: dict[str, nn.Module], *, by_default: bool) -> dict[str, str]:
    """Return the modules after which no layer can be inserted, with the reason."""
    uncalled = find_uncalled(model, forward_only=by_default)
    outputs = find_outputs(model) if by_default else {}
    left = {}
    for name, module in places.items():
        if name in outputs:
            left[name] = outputs[name]
        elif name in uncalled:
            left[name] = uncalled[name]
        elif is_scripted(module):
            left[name] = "is compiled by torch.jit; insert before"
        elif hasattr(module, AFTER) and not has_layer_after(module):
            left[name] = f"already has an attribute named {AFTER!r}"
        elif _may_call_children(module):
            left[name] = "may also call the new layer as a child; select a layer inside it"
    return left


def _may_call_children(module: nn.Module) -> bool:
    """Whether code other than ``nn.Sequential.forward`` may iterate over a module's children."""
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return not is_chain(module)
    kind: Any = type(module)
    return iterates_over_children(kind)


def _describe_no_match(model: nn.Module, after: Selection | None, left: dict[str, str]) -> str:
    kind = type(model).__name__
    reasons = "".join(f"; {line}" for line in lines(left))
    if after is not None:
        return (
            f"after=... must select modules of {kind} that can be followed, but {after!r} selects "
            f"none{reasons}; their names are those of model.named_modules()"
        )
    if left:
        return (
            f"{kind} must hold an activation module that can be followed, but each is left"
            f"{reasons}; add nn.Dropout layers where you want them{OR_AFTER}"
        )
    return (
        f"{kind} must hold an activation module before its output, but none was found; "
        "activations called as functions, such as F.relu(x), are not modules: add nn.Dropout "
        f"layers where you want them{OR_AFTER}"
    )

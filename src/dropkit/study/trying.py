"""Try whether the model and each method suit the data, before anything is trained."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from dropkit.errors import StudyError, first_line
from dropkit.study.config import BUILT_IN, Study
from dropkit.study.data import Data
from dropkit.study.inputs import AnyRows, Inputs
from dropkit.study.methods.expression import Expression
from dropkit.study.shapes import describe_shape
from dropkit.study.training.feeding import feed
from dropkit.study.training.folds import Fold, find_largest
from dropkit.study.training.insertion import regularize, with_input_layers
from dropkit.study.training.losses import make_loss
from dropkit.study.training.models import Factory, architecture, build, check_outputs, factory
from dropkit.study.training.updates import plain_recipe


def try_model(
    study: Study, data: Data, model: str | Factory, fold: Fold
) -> tuple[nn.Module, Tensor, str]:
    """Return the network, its outputs for some rows, and a text that identifies a user's model."""
    make = factory(model, study.hidden)
    few = fold.x_train[:2].clone()  # a model may change its input in place
    if model in BUILT_IN:
        _check_suits(str(model), few)
    network = build(make, few, fold.outputs, seed=0)
    # Computed first, because a forward pass changes the statistics of normalization layers.
    look = "" if model in BUILT_IN else f"-{architecture(network, few)}"
    known = set(map(id, network.parameters()))
    if known & set(map(id, build(make, few, fold.outputs, seed=0).parameters())):
        raise StudyError(
            "the model function must return a new network at every call, but two calls share "
            "parameters; create every layer inside the function"
        )
    fed = feed(network, few)
    outputs = _try_outputs(fed, fold, data.task)
    for largest in find_largest(fold):  # an embedding must have an entry for the largest integer
        check_outputs(fed, largest, fold.outputs, data.task)
    return network, outputs, look


def _check_suits(model: str, rows: AnyRows) -> None:
    """Raise `StudyError` for inputs that the built-in network cannot take."""
    own = "a network that takes them with --model file.py:function"
    if isinstance(rows, Inputs) and len(rows.shape) > 1:
        raise StudyError(
            f"the model {model!r} takes one array, but the data hold {describe_shape(rows.shape)}; "
            f"give {own}, whose forward has parameters of these names"
        )
    if not rows.is_floating_point():
        kind = (
            "sequences of them" if isinstance(rows, Inputs) else str(rows.dtype).partition(".")[2]
        )
        other = "" if isinstance(rows, Inputs) else "leave preprocessing on, or "
        raise StudyError(
            f"the model {model!r} needs features that are not integers, got {kind}; {other}"
            f"give {own}"
        )


def try_method(method: Expression, study: Study, network: nn.Module, fold: Fold) -> None:
    """Raise `StudyError` unless the method can be applied to the network and trained."""
    try:
        recipe = method.recipe(plain_recipe(study))
    except StudyError as error:
        raise StudyError(f"{method}: {error}") from error
    try:
        if recipe.one_array and isinstance(fold.x_train, Inputs):
            held = "sequences" if fold.x_train.sequences else describe_shape(fold.x_train.shape)
            raise StudyError(
                f"it is only defined for one array of inputs, and the data hold {held}; leave the "
                "method out"
            )
        if recipe.solve is not None:
            if len(method.terms) > 1:
                raise StudyError("a closed-form method cannot be combined with other methods")
            if not isinstance(fold.x_train, Tensor):
                raise StudyError("a closed-form method needs all rows at once, with --no-stream")
            recipe.solve(fold.x_train, fold.y_train, fold.task)
            return
        if recipe.inputs and not fold.x_train.is_floating_point():
            raise StudyError(
                "integers cannot be dropped or made noisy; leave the inputs unchanged, for "
                "dropout with input=0"
            )
        regular = feed(regularize(deepcopy(network), recipe), fold.x_train[:2])
        noisy = with_input_layers(regular, recipe)
        _try_outputs(noisy, fold, fold.task)
        with torch.random.fork_rng():
            objective = recipe.objective(noisy, make_loss(recipe, fold))
            _, total = objective(fold.x_train[:2].clone(), fold.y_train[:2])
        _try_gradient(total)
    except (StudyError, ValueError) as error:
        raise StudyError(f"{method} does not fit the data and the model: {error}") from error


def _try_outputs(network: nn.Module, fold: Fold, task: str) -> Tensor:
    """Try two batch sizes, because one size alone may hide that rows and outputs are swapped."""
    for rows in (2, 3):
        outputs = check_outputs(network, fold.x_train[:rows].clone(), fold.outputs, task)
    return outputs


def _try_gradient(loss: Tensor) -> None:
    if not isinstance(loss, Tensor) or loss.ndim > 0 or not loss.requires_grad:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)
        raise StudyError(
            "the loss must be one number as a tensor that has a gradient, such as a mean over the "
            f"rows, got {what}"
        )
    try:
        loss.backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise StudyError(f"the gradient cannot be computed: {first_line(error)}") from error

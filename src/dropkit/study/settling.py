"""Choose the settings that a study leaves open from its data and model, and explain the choices."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from dropkit.study.config import BUILT_IN, Study
from dropkit.study.data import Data
from dropkit.study.methods.parsing import parse
from dropkit.study.metrics import choose_metric
from dropkit.study.tasks import TASKS
from dropkit.study.training.insertion import has_own_dropout
from dropkit.study.training.updates import plain_recipe

UPDATES = 2000

_RESHAPES = ("View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Slice", "Alias")

RARE = 0.1  # a class with a smaller share of the rows hardly affects the error


def settle_epochs(study: Study, data: Data) -> Study:
    """Keep the given number of epochs, or choose one from 20 to 100 for about 2,000 updates."""
    if study.epochs is not None:
        return study
    held_out = study.val_fraction + (0 if data.X_test is not None else study.test_share)
    batches = max(1, round(data.rows * (1 - held_out) / study.batch_size))
    return replace(study, epochs=min(100, max(20, UPDATES // batches)))


def settle_metric(study: Study, data: Data) -> Study:
    """Keep the given metric, or choose the AUC if one of two classes is rare.

    Raises:
        StudyError: the metric is not for this task.
    """
    if study.metric is None:
        shares = data.count_classes() / data.rows if len(data.classes) == 2 else ()
        return replace(study, metric="auc") if any(share < RARE for share in shares) else study
    choose_metric(study.metric, data.task)
    return study


def note_metric(asked: Study, study: Study, data: Data) -> tuple[str, ...]:
    """Return a note if the AUC was chosen automatically, otherwise nothing."""
    if study.metric == asked.metric:
        return ()
    rare = data.classes[data.count_classes().argmin()]
    return (
        f"methods are compared by the AUC, since fewer than a tenth of the rows are {rare!r} and "
        "the error says little about them; --metric error compares errors",
    )


def add_companions(study: Study, network: nn.Module) -> Study:
    """Add the control methods that the given methods must be compared with."""
    wanted = dict.fromkeys(study.method_names)
    if study.model not in BUILT_IN and has_own_dropout(network):
        wanted["as-is"] = None
    plain, usual = plain_recipe(study), parse("larger-steps")
    for method in study.methods:
        recipe = method.recipe(plain)
        if (recipe.lr, recipe.momentum) != (plain.lr, plain.momentum):
            steps = f"larger-steps(lr={recipe.lr / plain.lr:g},momentum={recipe.momentum:g})"
            control = usual if usual.arguments() == parse(steps).arguments() else parse(steps)
            if [term.method for term in method.terms] != [usual.terms[0].method]:
                wanted[str(control)] = None
    return replace(study, methods=tuple(map(parse, wanted)))


def note_last_layer(outputs: Tensor, task: str) -> tuple[str, ...]:
    """Return a warning if the network ends in a softmax or sigmoid, which limits its outputs."""
    kind = _find_last_operation(outputs.grad_fn)
    if kind not in ("Softmax", "Sigmoid"):
        return ()
    if TASKS[task].predicts == "numbers":
        why = "predicts only numbers from 0 to 1, but targets are standardized"
    else:
        why = "returns probabilities, but the loss takes logits and computes probabilities itself"
    return (f"the model ends in {kind}, which {why}: leave that layer out",)


def _find_last_operation(node: Any) -> str:
    """Return the name of the last operation that does more than change the shape."""
    while node is not None and node.name().startswith(_RESHAPES) and node.next_functions:
        node = node.next_functions[0][0]
    return "" if node is None else re.sub(r"Backward\d*$", "", node.name())

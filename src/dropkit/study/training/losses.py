"""Create the training loss from the settings and the training rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dropkit.errors import StudyError
from dropkit.study.losses import load_loss
from dropkit.study.methods.objective import Loss
from dropkit.study.methods.recipe import Recipe
from dropkit.study.tasks import TASKS
from dropkit.study.training.folds import Fold


def make_loss(recipe: Recipe, fold: Fold) -> Loss:
    """Return the loss that a recipe names, with the weights of a fold's classes or labels.

    With n training rows in k classes, the balanced weight of class c is n/(k·n_c), where n_c is the
    number of rows of class c. So all classes have the same total weight, and the mean weight of the
    rows is 1.
    For a label, the two classes are the rows with and without it, so k = 2.

    Raises:
        StudyError: the loss or the weights do not fit the task.
    """
    function = None if recipe.loss is None else load_loss(recipe.loss, fold.task)
    if not recipe.balanced:
        return Loss(fold.task, function)
    task = TASKS[fold.task]
    if task.predicts == "numbers":
        raise StudyError(f"class weights are for classes, and this is {task}; leave them out")
    if recipe.loss is not None and ":" in recipe.loss:
        raise StudyError(
            "class weights need a loss of torch; weight the classes in your own function"
        )
    if task.predicts == "labels":
        function = function or F.binary_cross_entropy_with_logits
        return Loss(fold.task, function, _balance_labels(fold.y_train))
    function = function or F.cross_entropy
    return Loss(fold.task, function, _balance_classes(fold.y_train, fold.outputs))


def _balance_classes(classes: Tensor, count: int) -> Callable[[Tensor], Tensor]:
    rows = torch.bincount(classes, minlength=count).clamp(min=1)
    weights = len(classes) / (count * rows.float())
    return lambda target: weights.to(target.device)


def _balance_labels(labels: Tensor) -> Callable[[Tensor], Tensor]:
    held = labels.sum(0)
    absent, present = (len(labels) / (2 * n.clamp(min=1)) for n in (len(labels) - held, held))
    return lambda target: torch.where(
        target > 0.5, present.to(target.device), absent.to(target.device)
    )

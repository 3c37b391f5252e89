"""The loss of a training, from the settings and the training rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dropkit.errors import StudyError
from dropkit.study.losses import load_loss
from dropkit.study.methods.objective import Loss
from dropkit.study.methods.recipe import Recipe
from dropkit.study.training.folds import Fold


def make_loss(recipe: Recipe, fold: Fold) -> Loss:
    """Return the loss that a recipe names, with the weights of a fold's classes.

    Balanced weights are n/(k·n_c), of n training rows in k classes with n_c rows each, so that
    every class counts alike, and the rows together as before.

    Raises:
        StudyError: the loss or the weights do not fit the task.
    """
    function = None if recipe.loss is None else load_loss(recipe.loss, fold.task)
    if not recipe.balanced:
        return Loss(fold.task, function)
    if fold.task != "classification":
        raise StudyError("class weights are for classes, and this is a regression; leave them out")
    if recipe.loss is not None and ":" in recipe.loss:
        raise StudyError(
            "class weights go with a loss of torch's; weight the classes in your own function"
        )
    return Loss(fold.task, function or F.cross_entropy, _balanced(fold.y_train, fold.outputs))


def _balanced(classes: Tensor, count: int) -> Tensor:
    rows = torch.bincount(classes, minlength=count).clamp(min=1)
    return len(classes) / (count * rows.float())

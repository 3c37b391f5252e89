"""Create the optimizer and the schedules of a training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dropkit.schedule import linear, momentum_ramp
from dropkit.study.config import Study
from dropkit.study.methods.recipe import Recipe, weights
from dropkit.study.optimizers import MOMENTUM_SGD, SCHEDULES, optimizers, parse_optimizer
from dropkit.study.training.loop import Optimizer
from dropkit.study.training.sgd import SGD
from dropkit.surgery import rates, schedule_rates


def plain_recipe(study: Study, lr: float | None = None) -> Recipe:
    """Return the recipe of the baseline, which every method of a study changes.

    Args:
        study: the settings, with optimizer, learning rate and schedule.
        lr: a learning rate from a search, which replaces the study's own.
    """
    name, arguments = parse_optimizer(study.optimizer)
    momentum = arguments.pop("momentum", MOMENTUM_SGD) if name == "sgd" else None
    return Recipe(
        lr=study.learning_rate if lr is None else lr,
        momentum=momentum,
        weight_decay=arguments.pop("weight_decay", 0.0),
        optimizer=(name, arguments),
        lr_schedule=study.lr_schedule,
        loss=study.loss,
        balanced=study.class_weights == "balanced",
    )


def make_optimizer(model: nn.Module, recipe: Recipe) -> Optimizer:
    """Create the optimizer of a model; biases and normalization layers have no weight decay."""
    name, arguments = recipe.optimizer
    groups = _groups(model, recipe, arguments)
    if name == "sgd":
        return SGD(groups)
    made: Optimizer = optimizers()[name](groups, lr=recipe.lr)
    return made


def make_schedule(
    net: nn.Module, recipe: Recipe, budget: int, optimizer: Optimizer
) -> Callable[[int], None]:
    """Return a function that sets learning rate, momentum and dropout rates before each update.

    Args:
        net: the model with the layers before it.
        recipe: the recipe of the run.
        budget: total number of updates.
        optimizer: the optimizer whose parameter groups are set.
    """
    share_of_lr = SCHEDULES[recipe.lr_schedule]
    ramp = None
    if recipe.warm_up and recipe.momentum is not None:
        ramp = momentum_ramp(0.5, recipe.momentum, budget / 10)
    set_rates = make_annealing(net, recipe, budget)

    def schedule(step: int) -> None:
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * share_of_lr(step / budget)
            if ramp is not None:
                group["momentum"] = ramp(step)
        set_rates(step)

    return schedule


def make_annealing(net: nn.Module, recipe: Recipe, budget: int) -> Callable[[float], None]:
    """Return a function that decreases dropout rates to 0 if the recipe anneals them.

    The returned function takes the time since the start, in the same unit as ``budget``: updates or
    epochs.
    """
    falling = {}
    if recipe.anneal:
        until = budget * recipe.anneal
        falling = {name: linear(p, 0.0, until) for name, p in rates(net).items()}
    return schedule_rates(net, falling) if falling else lambda time: None


def _groups(model: nn.Module, recipe: Recipe, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return two parameter groups: one with weight decay, and one without."""
    decayed = weights(model)
    chosen = {id(parameter) for parameter in decayed}
    others = [parameter for parameter in model.parameters() if id(parameter) not in chosen]
    common = {**arguments, "lr": recipe.lr}
    if recipe.momentum is not None:
        common["momentum"] = recipe.momentum
    return [
        {"params": decayed, "weight_decay": recipe.weight_decay, **common},
        {"params": others, "weight_decay": 0.0, **common},
    ]

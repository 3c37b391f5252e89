"""Define the methods without dropout: baseline, constraints, penalties, input noise, stopping."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.noise import GaussianNoise
from dropkit.study.methods.method import Argument, Method
from dropkit.study.methods.recipe import Recipe, weights


def _none(recipe: Recipe) -> Recipe:
    return recipe


def _as_is(recipe: Recipe) -> Recipe:
    return replace(recipe, keep_own=True)


def limit_norms(recipe: Recipe, *, c: float) -> Recipe:
    return replace(recipe, max_norm=c)


def larger_steps(recipe: Recipe, *, lr: float, momentum: float) -> Recipe:
    """Multiply the learning rate by ``lr``, and raise the final momentum to ``momentum``."""
    if recipe.momentum is None:
        raise StudyError(
            "larger steps change the momentum, which only the optimizer sgd has; use --optimizer "
            "sgd, or leave the method out"
        )
    return replace(
        recipe,
        lr=recipe.lr * lr,
        momentum=max(recipe.momentum, momentum),
        warm_up=recipe.warm_up or momentum > recipe.momentum,
    )


def _weight_decay(recipe: Recipe, *, coefficient: float) -> Recipe:
    return replace(recipe, weight_decay=recipe.weight_decay + coefficient)


def _l1_norm(model: nn.Module, rows: int, coefficient: float) -> Tensor:
    return coefficient * torch.stack([w.abs().sum() for w in weights(model)]).sum()


def _l1(recipe: Recipe, *, coefficient: float) -> Recipe:
    penalty = partial(_l1_norm, coefficient=coefficient)
    return replace(recipe, penalties=(*recipe.penalties, penalty))


def _noise(recipe: Recipe, *, std: float) -> Recipe:
    return replace(recipe, inputs=(*recipe.inputs, partial(GaussianNoise, std)))


def _early_stopping(recipe: Recipe, *, patience: float) -> Recipe:
    return replace(recipe, patience=int(patience), restore_best=True)


def _ensemble(recipe: Recipe, *, members: float) -> Recipe:
    return replace(recipe, members=int(members))


LIMIT = Argument("c", 3.0, "largest norm of a unit's incoming weights", 1e-6, tune=(1.0, 5.0))

STEPS = (
    Argument("lr", 2.0, "learning rate as a multiple of the study's", 1e-6),
    Argument("momentum", 0.95, "final momentum; above the study's it rises from 0.5", 0, 0.9999),
)

CLASSIC = (
    Method("none", "No regularizer: the baseline.", "", _none),
    Method(
        "as-is",
        "The unchanged model, with its own dropout at its own rates.",
        "",
        _as_is,
    ),
    Method(
        "larger-steps",
        "No regularizer: the learning rate and momentum of paper-dropout without dropout.",
        "Srivastava et al. 2014",
        larger_steps,
        STEPS,
    ),
    Method(
        "max-norm",
        "Keep the norm of each unit's incoming weights at c or below.",
        "Srebro and Shraibman 2005",
        limit_norms,
        (LIMIT,),
    ),
    Method(
        "weight-decay",
        "Add half the coefficient times the sum of squared weights to the loss.",
        "Krogh and Hertz 1991",
        _weight_decay,
        (Argument("coefficient", 5e-4, "strength", 0, tune=(1e-6, 1e-2), log=True),),
    ),
    Method(
        "l1",
        "Add the coefficient times the sum of absolute weights to the loss.",
        "Tibshirani 1996",
        _l1,
        (Argument("coefficient", 1e-5, "strength", 0, tune=(1e-7, 1e-3), log=True),),
    ),
    Method(
        "noise",
        "Add Gaussian noise to the inputs in every update.",
        "Bishop 1995",
        _noise,
        (Argument("std", 0.1, "standard deviation of the noise", 0, tune=(0.01, 1), log=True),),
    ),
    Method(
        "early-stopping",
        "Stop when the validation loss no longer decreases; keep the best epoch.",
        "Prechelt 1998",
        _early_stopping,
        (Argument("patience", 5, "epochs without improvement", 1, tune=(1, 20), whole=True),),
    ),
    Method(
        "ensemble",
        "Average the predictions of separately trained nets.",
        "Hansen and Salamon 1990",
        _ensemble,
        (Argument("members", 5, "number of nets", 2, 1000, whole=True),),
    ),
)

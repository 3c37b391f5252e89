"""Do one run of a study: train one method with one seed, and return a `Run`."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from dropkit.errors import StudyError
from dropkit.study.config import Study
from dropkit.study.methods.expression import Expression
from dropkit.study.methods.recipe import Recipe
from dropkit.study.record import Curve, Run, Scores, Timing, finite, pack_rows
from dropkit.study.record.predictions import pack
from dropkit.study.seeds import Seeds
from dropkit.study.training.devices import call_on_devices
from dropkit.study.training.feeding import feed
from dropkit.study.training.fit import Trained, fit, outputs_of
from dropkit.study.training.folds import Fold
from dropkit.study.training.insertion import regularize
from dropkit.study.training.models import Factory, build
from dropkit.study.training.ranks import ALONE, Rank
from dropkit.study.training.scoring import average
from dropkit.study.training.updates import plain_recipe

NAMES = {"train": "training", "val": "validation", "test": "test"}
Count = TypeVar("Count", int, float)


def train_once(
    study: Study,
    make: Factory,
    fold: Fold,
    method: Expression,
    seed: int,
    *,
    hyperparameters: dict[str, float] | None = None,
    test: bool = True,
    limits: Sequence[float] = (),
) -> Run:
    """Train a network with one method and one seed, and score the network.

    Args:
        study: the settings; ``study.epochs`` must be a number.
        make: the function that builds the network.
        fold: the preprocessed rows of this seed.
        method: the method to apply.
        seed: the seed of initial weights, batch order and noise.
        hyperparameters: tuned arguments, which override those of the expression.
        test: whether to score the test rows; tuning never does.
        limits: the validation loss of each epoch above which a trial is pruned; see
            `dropkit.study.tuning.median`. For an ensemble, the limits apply to its first network.

    With several devices, every device has its own process. A closed-form method uses one process.

    Raises:
        StudyError: with several devices, one of the processes ended early.
    """
    what = study, make, fold, method, seed, hyperparameters or {}, test, limits
    if study.devices == 1 or method.recipe(plain_recipe(study)).solve is not None:
        return train_on_rank(ALONE, *what)
    return call_on_devices(study.devices, train_on_rank, *what)


def train_on_rank(
    rank: Rank,
    study: Study,
    make: Factory,
    fold: Fold,
    method: Expression,
    seed: int,
    hyperparameters: dict[str, float],
    test: bool,
    limits: Sequence[float] = (),
) -> Run:
    """Do one process's part of a run; see `train_once`."""
    base = plain_recipe(study, hyperparameters.get("lr"))
    recipe = method.recipe(base, hyperparameters)
    if study.weights == "best":
        recipe = replace(recipe, restore_best=True)
    nets: list[Trained] = []
    for member in range(recipe.members):
        if recipe.solve is not None:
            nets.append(_solve(recipe, fold))
            break
        seeds = Seeds(seed, member, rank.rank)
        nets.append(_fit_member(rank, study, make, fold, recipe, seeds, () if member else limits))
        if nets[-1].diverged or nets[-1].pruned:
            break
    status = "diverged" if nets[-1].diverged else "pruned" if nets[-1].pruned else "finished"
    steps = sum(net.steps[-1] for net in nets)
    stepping = sum(net.training_seconds[-1] for net in nets)

    is_finished = status == "finished"
    test_outputs = _compute_outputs(nets, fold, "test") if is_finished and test else None
    test_scores, row_errors = None, None
    if test_outputs is not None:
        test_scores, row_errors = _score_outputs(test_outputs, fold, "test")
    train_scores, val_scores = None, None
    if is_finished:
        train_scores, _ = _score_outputs(_compute_outputs(nets, fold, "train"), fold, "train")
        if len(nets) == 1:  # every epoch of a single network is scored during training
            val_scores = nets[0].val_scores[nets[0].selected - 1]
        else:
            val_scores, _ = _score_outputs(_compute_outputs(nets, fold, "val"), fold, "val")
    return Run(
        method=str(method),
        seed=seed,
        status=status,
        steps=steps,
        selected_epoch=max(net.selected for net in nets),
        arguments={
            **method.arguments(),
            **hyperparameters,
            "base_lr": base.lr,  # before the method's own factor
            "lr": recipe.lr,
            **({} if recipe.momentum is None else {"momentum": recipe.momentum}),
        },
        curve=_curve(nets, fold),
        train=train_scores,
        val=val_scores,
        test=test_scores,
        row_errors=row_errors,
        timing=Timing(
            sum(net.seconds for net in nets),
            stepping / max(1, steps),
            _add_up([net.training_seconds for net in nets]),
        ),
        predictions=None if test_outputs is None else pack(fold.predict(test_outputs)),
        test_rows=None if study.folds is None else len(fold.y_test),
        contributions=None if test_outputs is None else fold.pack_contributions(test_outputs),
    )


def _compute_outputs(nets: list[Trained], fold: Fold, part: str) -> Tensor:
    """Return the outputs of one network, or of an ensemble, for ``train``, ``val`` or ``test``."""
    return average([outputs_of(net.model, fold.rows(part)) for net in nets], fold.task)


def _score_outputs(outputs: Tensor, fold: Fold, part: str) -> tuple[Scores, str | None]:
    """Return the scores for a part, and its packed row errors; raise `StudyError` for NaN."""
    scores, rows = fold.score(outputs, part, simulate=part == "test")
    if not all(map(math.isfinite, (scores.known_loss, scores.value))):
        raise StudyError(
            f"the net returns NaN or infinite numbers for {NAMES[part]} rows, though its "
            "training did not diverge; look at these rows and at what the net does with them"
        )
    return scores, None if rows is None else pack_rows(rows, fold.task)


def _fit_member(
    rank: Rank,
    study: Study,
    make: Factory,
    fold: Fold,
    recipe: Recipe,
    seeds: Seeds,
    limits: Sequence[float],
) -> Trained:
    assert study.epochs is not None
    few = fold.x_train[:2]
    network = build(make, few, fold.outputs, seed=seeds.weights)
    return fit(
        feed(regularize(network, recipe), few),
        recipe,
        fold,
        fold.batches(study.batch_size, seeds.batches, rank),
        study.epochs,
        noise_seed=seeds.noise,
        limits=limits,
    )


def _solve(recipe: Recipe, fold: Fold) -> Trained:
    """Compute a closed-form model, and return it as if it had been trained in one step."""
    assert recipe.solve is not None
    started = time.perf_counter()
    assert isinstance(fold.x_train, Tensor)  # other inputs raised an error before
    model = recipe.solve(fold.x_train, fold.y_train, fold.task)
    seconds = time.perf_counter() - started

    train_scores, val_scores = (
        fold.score(outputs_of(model, fold.rows(part)), part)[0] for part in ("train", "val")
    )
    return Trained(
        model,
        steps=[1],
        train_loss=[train_scores.known_loss],
        val_scores=[val_scores],
        training_seconds=[seconds],
        seconds=seconds,
    )


def _curve(nets: list[Trained], fold: Fold) -> Curve:
    """Return the curve of one network, or of an ensemble prediction.

    A member that stopped early keeps its last value in later epochs.
    """
    first = nets[0]
    losses, scores = [], []
    for epoch in range(max(len(net.steps) for net in nets)):
        now = [(net, min(epoch, len(net.steps) - 1)) for net in nets]
        losses.append(sum(net.train_loss[i] for net, i in now) / len(now))
        if first.val_outputs:
            outputs = average([net.val_outputs[i] for net, i in now], fold.task)
            scores.append(fold.score(outputs, "val")[0])
        else:
            scores.append(first.val_scores[epoch])
    return Curve(
        step=_add_up([net.steps for net in nets]),
        train_loss=tuple(map(finite, losses)),
        val_loss=tuple(finite(each.known_loss) for each in scores),
        val_value=tuple(finite(each.value) for each in scores),
        first_net=tuple(finite(s.known_loss) for s in first.val_scores)
        if first.val_outputs
        else (),
    )


def _add_up(members: list[list[Count]]) -> tuple[Count, ...]:
    """Sum running totals of networks per epoch; after a network stopped, its last total counts."""
    epochs = range(max(map(len, members)))
    return tuple(sum(taken[min(i, len(taken) - 1)] for taken in members) for i in epochs)

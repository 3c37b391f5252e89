"""One training: a method and a seed in, one `Run` out."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from dropkit.adapters.lightning import MomentumSchedule, RateSchedule, RestoreBest
from dropkit.errors import StudyError
from dropkit.schedule import linear, momentum_ramp
from dropkit.study.config import Study
from dropkit.study.data._fold import Fold
from dropkit.study.methods.expression import parse
from dropkit.study.methods.recipe import Recipe
from dropkit.study.record.results import Curve, Run, Scores, Timing, pack_rows
from dropkit.study.training.models import Factory, build
from dropkit.study.training.ranks import Rank, on_ranks
from dropkit.study.training.regularized import regularized
from dropkit.study.training.scoring import average, score
from dropkit.study.training.training import ALONE, Batches, Training
from dropkit.surgery import rates

EVAL_BATCH = 4096
NAMES = {"train": "training", "val": "validation", "test": "test"}
Count = TypeVar("Count", int, float)
MEMBER_STRIDE = 100_003  # seeds of ensemble members stay apart from those of other runs
RANK_STRIDE = 1_000_000_007  # and so do those of the noise of processes that train together


@dataclass(frozen=True)
class Trained:
    """One trained net, the epoch whose weights it holds, and what that took."""

    training: Training
    selected: int
    seconds: float


def train(
    study: Study,
    make: Factory,
    fold: Fold,
    method: str,
    seed: int,
    *,
    chosen: dict[str, float] | None = None,
    test: bool = True,
    limits: Sequence[float] = (),
) -> Run:
    """Train one method with one seed and score it.

    Args:
        study: the configuration; ``study.epochs`` must be a number here.
        make: builds the network.
        fold: the preprocessed rows of this seed.
        method: a canonical method expression.
        seed: decides initial weights, batch order and noise.
        chosen: tuned arguments, which override those of the expression.
        test: whether the test rows are scored; tuning never touches them.
        limits: after which epoch, with which validation loss, a trial is pruned; see
            `dropkit.study.tuning.median`. An ensemble is judged by its first net.

    With several devices each has a process of its own. What is solved for needs one alone.

    Raises:
        StudyError: a training on several devices lost one of them.
    """
    what = study, make, fold, method, seed, chosen or {}, test, limits
    if study.devices == 1 or parse(method).recipe(Recipe(lr=study.lr)).solve is not None:
        return _train(ALONE, *what)
    return on_ranks(study.devices, _train, *what)


def _train(
    rank: Rank,
    study: Study,
    make: Factory,
    fold: Fold,
    method: str,
    seed: int,
    chosen: dict[str, float],
    test: bool,
    limits: Sequence[float] = (),
) -> Run:
    expression = parse(method)
    base = Recipe(lr=chosen.get("lr", study.lr))
    recipe = expression.recipe(base, chosen)
    if study.weights == "best":
        recipe = replace(recipe, restore_best=True)
    members: list[Trained] = []
    for member in range(recipe.members):
        if recipe.solve is not None:
            members.append(_solved(recipe, fold))
            break
        of_it = seed + MEMBER_STRIDE * member
        members.append(_fit(rank, study, make, fold, recipe, of_it, () if member else limits))
        if members[-1].training.diverged or members[-1].training.pruned:
            break
    trainings = [member.training for member in members]
    status = "finished"
    if trainings[-1].diverged or trainings[-1].pruned:
        status = "diverged" if trainings[-1].diverged else "pruned"
    steps = sum(training.step[-1] for training in trainings)
    seconds = sum(member.seconds for member in members)
    stepping = seconds - sum(training.outside_training for training in trainings)

    def scored(part: str) -> tuple[Scores | None, str | None]:
        if status != "finished":
            return None, None
        rows_in = fold.rows(part)
        outputs = average([_outputs(training, rows_in) for training in trainings], fold.task)
        scores, rows = score(outputs, fold.target(part), fold.task, fold.scale)
        if not (math.isfinite(scores.loss) and math.isfinite(scores.error)):
            raise StudyError(
                f"the net returns NaN or infinite numbers for {NAMES[part]} rows, though its "
                "training did not diverge; look at these rows and at what the net does with them"
            )
        return scores, pack_rows(rows, fold.task)

    test_scores, row_errors = scored("test") if test else (None, None)
    return Run(
        method=method,
        seed=seed,
        status=status,
        steps=steps,
        selected_epoch=max(member.selected for member in members),
        arguments={
            **expression.arguments(),
            **chosen,
            "base_lr": base.lr,  # before the method's own factor
            "lr": recipe.lr,
            "momentum": recipe.momentum,
        },
        curve=_curve(trainings, fold),
        train=scored("train")[0],
        val=scored("val")[0],
        test=test_scores,
        row_errors=row_errors,
        timing=Timing(
            seconds,
            stepping / max(1, steps),
            _together([training.seconds for training in trainings]),
        ),
    )


def _fit(
    rank: Rank,
    study: Study,
    make: Factory,
    fold: Fold,
    recipe: Recipe,
    seed: int,
    limits: Sequence[float],
) -> Trained:
    assert study.epochs is not None
    model = regularized(build(make, fold.x_train[:2], fold.outputs, seed=seed), recipe)
    batches = Batches(fold.x_train, fold.y_train, study.batch_size, seed, rank)
    training = Training(model, recipe, fold, len(batches) * study.epochs, rank, limits)
    best = RestoreBest("val_loss")
    callbacks = [make_callback() for make_callback in recipe.callbacks]
    if recipe.restore_best:
        callbacks.append(best)
    if recipe.warm_up:
        ramp = momentum_ramp(0.5, recipe.momentum, training.steps / 10)
        callbacks.append(MomentumSchedule(ramp))
    if recipe.anneal and (start := rates(training)):
        steps = training.steps * recipe.anneal
        callbacks.append(RateSchedule({n: linear(p, 0.0, steps) for n, p in start.items()}))
    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed + RANK_STRIDE * rank.rank)
        trainer = pl.Trainer(
            max_epochs=study.epochs,
            **_devices(rank),
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        started = time.perf_counter()
        trainer.fit(training, batches, Batches(fold.x_val, fold.y_val, EVAL_BATCH, rank=rank))
        seconds = time.perf_counter() - started
    last = len(training.step) - 1
    kept = best.epoch if recipe.restore_best and best.epoch is not None else last
    return Trained(training, kept + 1, seconds)


def _devices(rank: Rank) -> dict[str, Any]:
    """What tells Lightning's trainer where it is."""
    if rank.ranks == 1:
        return {"devices": 1}
    return {
        "accelerator": "cuda" if torch.cuda.is_available() else "cpu",
        "devices": rank.ranks,
        # A layer that is dropped as a whole takes no part in a rank's step.
        "strategy": DDPStrategy(
            cluster_environment=TorchElasticEnvironment(), find_unused_parameters=True
        ),
    }


def _solved(recipe: Recipe, fold: Fold) -> Trained:
    assert recipe.solve is not None
    started = time.perf_counter()
    model = recipe.solve(fold.x_train, fold.y_train, fold.task)
    training = Training(model, recipe, fold, steps=1)
    seconds = time.perf_counter() - started
    train, val = (
        score(_outputs(training, fold.rows(part)), fold.target(part), fold.task, fold.scale)[0]
        for part in ("train", "val")
    )
    training.step, training.train_loss, training.val_scores = [1], [train.loss], [val]
    training.seconds = [seconds]
    return Trained(training, 1, seconds)


def _outputs(training: Training, rows: Tensor) -> Tensor:
    training.eval()
    with torch.inference_mode():
        chunks = [
            training.model(x.to(training.device)).cpu() for x in torch.split(rows, EVAL_BATCH)
        ]
    return torch.cat(chunks)


def _curve(trainings: list[Training], fold: Fold) -> Curve:
    """The curve of one net, or of several nets' averaged prediction.

    A member that stopped early keeps its last value until the others are done.
    """
    length = max(len(training.step) for training in trainings)
    first = trainings[0]
    losses, scores = [], []
    for epoch in range(length):
        at = [min(epoch, len(training.step) - 1) for training in trainings]
        pairs = list(zip(trainings, at, strict=True))
        losses.append(sum(training.train_loss[i] for training, i in pairs) / len(pairs))
        if first.val_outputs:
            outputs = average([training.val_outputs[i] for training, i in pairs], fold.task)
            scores.append(score(outputs, fold.y_val, fold.task, fold.scale)[0])
        else:
            scores.append(first.val_scores[epoch])
    return Curve(
        step=_together([training.step for training in trainings]),
        train_loss=tuple(map(_finite, losses)),
        val_loss=tuple(_finite(each.loss) for each in scores),
        val_error=tuple(_finite(each.error) for each in scores),
        first_net=tuple(_finite(s.loss) for s in first.val_scores) if first.val_outputs else (),
    )


def _together(members: list[list[Count]]) -> tuple[Count, ...]:
    """What several nets have taken up to each epoch's end; one that stopped takes no more."""
    epochs = range(max(map(len, members)))
    return tuple(sum(taken[min(i, len(taken) - 1)] for taken in members) for i in epochs)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's hints about loaders and devices, which are ours to decide."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            yield
    finally:
        logger.setLevel(level)

"""Train one network of a study."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

import torch
from torch import Tensor, nn

from dropkit._best import Best
from dropkit._mode import device_of, mode
from dropkit.constrain import max_norm_
from dropkit.study.inputs import AnyRows
from dropkit.study.methods.objective import logits_of
from dropkit.study.methods.recipe import Recipe
from dropkit.study.record import Scores
from dropkit.study.training.batches import Batches, Rows
from dropkit.study.training.folds import Fold
from dropkit.study.training.insertion import with_input_layers
from dropkit.study.training.loop import train
from dropkit.study.training.losses import make_loss
from dropkit.study.training.pruning import falls_behind
from dropkit.study.training.streamed import StreamedRows
from dropkit.study.training.updates import make_optimizer, make_schedule

EVAL_BATCH = 4096


@dataclass
class Trained:
    """A trained network, with its losses and scores per epoch."""

    model: nn.Module
    steps: list[int] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    val_scores: list[Scores] = field(default_factory=list)
    val_outputs: list[Tensor] = field(default_factory=list)  # only for networks of an ensemble
    training_seconds: list[float] = field(default_factory=list)  # up to the end of each epoch
    selected: int = 1  # the epoch, from 1, whose weights the model has
    seconds: float = 0.0  # in total
    pruned: bool = False

    @property
    def diverged(self) -> bool:
        """Whether a loss became NaN or infinite."""
        return not (
            math.isfinite(self.train_loss[-1]) and math.isfinite(self.val_scores[-1].known_loss)
        )


def fit(
    model: nn.Module,
    recipe: Recipe,
    fold: Fold,
    batches: Batches,
    epochs: int,
    *,
    noise_seed: int,
    limits: Sequence[float] = (),
) -> Trained:
    """Train a model that already has the recipe's layers.

    Args:
        model: the network.
        recipe: the recipe of the run.
        fold: the rows; test rows are not used.
        batches: the batches of training rows.
        epochs: largest number of passes over the batches.
        noise_seed: the seed of the dropout masks.
        limits: the losses above which the run is pruned, from `dropkit.study.tuning.median`; empty
            to never prune the run.
    """
    started = time.perf_counter()
    rank, budget = batches.rank, epochs * len(batches)
    net = with_input_layers(model, recipe)
    minimized = recipe.objective(net, make_loss(recipe, fold))
    net.to(rank.device)
    rank.copy_first([*net.parameters(), *net.buffers()])
    optimizer = make_optimizer(model, recipe)
    schedule = make_schedule(net, recipe, budget, optimizer)
    held_out = Batches(fold.x_val, fold.y_val, rows_at_once(fold.x_val), rank=rank)
    best, found = Best("min"), Trained(model)

    def objective(x: AnyRows, y: Tensor) -> tuple[Tensor, Tensor]:
        loss, total = minimized(x, y)
        for penalty in recipe.penalties:
            total = total + penalty(model, fold.rows_train)
        return loss, total

    def project() -> None:
        if recipe.max_norm is not None:
            max_norm_(net, recipe.max_norm)

    with torch.random.fork_rng():
        torch.manual_seed(noise_seed)
        passes = repeat(batches, epochs)
        for epoch, done in enumerate(
            train(net, passes, objective, optimizer, schedule=schedule, project=project, rank=rank)
        ):
            rank.copy_first(net.buffers())  # such as running statistics of batch normalization
            outputs = _held_out_outputs(model, held_out)
            scores = fold.score(outputs, "val")[0]
            found.steps.append(done.updates)
            found.train_loss.append(rank.average(done.losses).mean().item())
            found.val_scores.append(scores)
            found.training_seconds.append(done.seconds)
            if recipe.members > 1:  # the ensemble is scored when all members are trained
                found.val_outputs.append(outputs)
            if recipe.restore_best:
                best.see(scores.known_loss, epoch, net)
            found.pruned = falls_behind([each.known_loss for each in found.val_scores], limits)
            if found.diverged or found.pruned:
                break
            if recipe.patience is not None and epoch - (best.time or 0) >= recipe.patience:
                break
    best.restore(net)
    found.selected = 1 + (len(found.steps) - 1 if best.time is None else best.time)
    found.seconds = time.perf_counter() - started
    return found


def rows_at_once(rows: Rows) -> int:
    """Return the number of rows to evaluate at a time."""
    return rows.at_once if isinstance(rows, StreamedRows) else EVAL_BATCH


def outputs_of(model: nn.Module, rows: Rows) -> Tensor:
    """Return the outputs of a model for rows in evaluation mode, on the CPU."""
    device, step = device_of(model), rows_at_once(rows)
    pieces = (rows[start : start + step] for start in range(0, len(rows), step))
    with mode(model, training=False), torch.inference_mode():
        return torch.cat([logits_of(model(x.to(device))).cpu() for x in pieces])


def _held_out_outputs(model: nn.Module, rows: Batches) -> Tensor:
    """Return the outputs for all rows; each rank computes a share, and every rank gets all."""
    with torch.inference_mode():
        outputs = ((logits_of(model(x)), weight) for x, _, weight in rows)
        mine = [(each if weight else each[:0]).cpu() for each, weight in outputs]
    batches = zip(*rows.rank.gather(mine), strict=True)  # the shares of every batch
    return torch.cat([part for batch in batches for part in batch])

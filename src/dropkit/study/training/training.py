"""What Lightning trains: the network with its input layers, objective, optimizer and batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from dropkit.study.data._fold import Fold
from dropkit.study.methods.recipe import Recipe, weights
from dropkit.study.record.results import Scores
from dropkit.study.training.ranks import Rank
from dropkit.study.training.scoring import score
from dropkit.study.tuning.median import behind

Batch = tuple[Tensor, Tensor, float]
ALONE = Rank()


def updates(rows: int, size: int) -> int:
    """How many batches of ``size`` there are in a pass; see `Batches` for the last one."""
    whole, left_over = divmod(rows, size)
    return max(1, whole + (left_over > 1))


class Batches:
    """Rows in a new random order every pass, decided by the seed alone.

    Iterating yields (x, y, weight), of ``size`` rows or of a rank's share of them, and what the
    mean over them counts; without a seed, in the given order. The last batch holds what is left
    over. A single row left over joins the batch before it: layers that normalize over a batch
    cannot train on one row.
    """

    def __init__(
        self, x: Tensor, y: Tensor, size: int, seed: int | None = None, rank: Rank = ALONE
    ) -> None:
        self.x, self.y, self.rank = x, y, rank
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.count = updates(len(x), size)
        self.sizes = [size] * (self.count - 1) + [len(x) - size * (self.count - 1)]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        shares = [self.rank.share(size) for size in self.sizes]
        if self.generator is None:
            xs, ys = torch.split(self.x, self.sizes), torch.split(self.y, self.sizes)
            for x, y, (mine, weight) in zip(xs, ys, shares, strict=True):
                yield x[mine], y[mine], weight
            return
        order = torch.randperm(len(self.x), generator=self.generator)
        for rows, (mine, weight) in zip(torch.split(order, self.sizes), shares, strict=True):
            yield self.x[rows[mine]], self.y[rows[mine]], weight


class Training(pl.LightningModule):
    """The network under training, with the recipe's input layers, optimizer and penalty.

    ``limits`` are those of `dropkit.study.tuning.median`; without any the training is not pruned.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        fold: Fold,
        steps: int,
        rank: Rank = ALONE,
        limits: Sequence[float] = (),
    ) -> None:
        super().__init__()
        self.model, self.rank, self.limits = model, rank, limits
        self.inputs = nn.Sequential(*(make() for make in recipe.inputs))
        self.recipe, self.fold, self.steps = recipe, fold, steps
        self.objective = recipe.objective(nn.Sequential(self.inputs, model), fold.task)
        self.step: list[int] = []
        self.train_loss: list[float] = []
        self.val_scores: list[Scores] = []
        self.val_outputs: list[Tensor] = []
        self.outside_training = 0.0
        self.seconds: list[float] = []
        self._losses: list[Tensor] = []
        self._val_batches: list[Tensor] = []
        self._started = self._val_started = 0.0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        decayed = weights(self.model)
        chosen = {id(parameter) for parameter in decayed}
        others = [p for p in self.model.parameters() if id(p) not in chosen]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.SGD(
            [group for group in groups if group["params"]],
            lr=self.recipe.lr,
            momentum=self.recipe.momentum,
        )
        steps = self.steps
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.0, 1.0 - t / steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}

    def training_step(self, batch: Batch, index: int) -> Tensor:
        x, y, weight = batch
        loss, total = self.objective(x, y)
        for penalty in self.recipe.penalties:
            total = total + penalty(self.model, len(self.fold.y_train))
        if weight != 1:
            loss, total = weight * loss, weight * total
        self._losses.append(loss.detach())
        return total

    def on_train_start(self) -> None:
        self._started = time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        self._val_started = time.perf_counter()
        self.seconds.append(self._val_started - self._started - self.outside_training)

    def validation_step(self, batch: Batch, index: int) -> None:
        x, _, weight = batch
        outputs = self.model(x)
        self._val_batches.append(outputs if weight else outputs[:0])

    def on_validation_epoch_end(self) -> None:
        mine = [outputs.cpu() for outputs in self._val_batches]
        batches = zip(*self.rank.everyones(mine), strict=True)  # each as its ranks' shares
        outputs = torch.cat([part for batch in batches for part in batch])
        self._val_batches = []
        if self.recipe.members > 1:  # their average is scored when all of them are trained
            self.val_outputs.append(outputs)
        self.val_scores.append(score(outputs, self.fold.y_val, self.fold.task, self.fold.scale)[0])
        self.step.append(self.global_step)
        losses = self.trainer.strategy.reduce(torch.stack(self._losses), reduce_op="mean")
        self.train_loss.append(losses.mean().item())
        self._losses = []
        self.log("val_loss", self.val_scores[-1].loss)
        over = self.diverged or self.pruned
        self.trainer.should_stop = self.trainer.should_stop or over
        self.outside_training += time.perf_counter() - self._val_started

    @property
    def diverged(self) -> bool:
        """Whether a loss became NaN or infinite."""
        return not (math.isfinite(self.train_loss[-1]) and math.isfinite(self.val_scores[-1].loss))

    @property
    def pruned(self) -> bool:
        """Whether the validation loss is behind the limit of the epoch; the same on every rank."""
        return behind([scores.loss for scores in self.val_scores], self.limits)

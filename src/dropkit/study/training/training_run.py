"""Define `TrainingRun`, the object that a user's training function receives."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn

from dropkit._best import Best
from dropkit.constrain import max_norm_
from dropkit.errors import StudyError
from dropkit.param_groups import decay_groups
from dropkit.study.methods.expression import Expression
from dropkit.study.methods.method import Argument
from dropkit.study.methods.own_loop import own_recipe
from dropkit.study.methods.parsing import parse
from dropkit.study.methods.recipe import Recipe
from dropkit.study.training.input_noise import add_input_noise
from dropkit.study.training.insertion import regularize
from dropkit.study.training.pruning import falls_behind
from dropkit.study.training.seen import LOG, Logged, Seen, to_float
from dropkit.study.training.start_state import (
    digest_batch,
    digest_weights,
    seed_generators,
    watch_first_batch,
)
from dropkit.study.training.updates import make_annealing


class TrainingRun:
    """One run of a study: applies the method to your training function.

    A study calls the function once for every method and seed. The function builds its model, data
    and optimizer as usual. Where a regularizer may change the training, the function calls a method
    of this object, such as ``run.regularize(model)``. ``TrainingRun()`` is an ordinary run with
    seed 0 and the method ``as-is``, which changes nothing.

    Args:
        seed: the random seed. torch, NumPy and ``random`` are seeded with it before the function is
            called, and again before each epoch, so that every method with this seed sees the same
            batches.
        method: the method to apply, such as ``dropout(p=0.3)+max-norm``.
        hyperparameters: values from a search, for `suggest` and the method's arguments, such as
            ``results.tuned["dropout"][0]``.

    >>> run = TrainingRun(seed=3, method="dropout(p=0.3)")
    >>> run.regularize(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)))[1]
    ReLU(
      (after): Dropout(p=0.3)
    )
    >>> list(run.epochs(2))
    [0, 1]
    """

    def __init__(
        self,
        seed: int = 0,
        method: str | Expression = "as-is",
        *,
        hyperparameters: Mapping[str, float] | None = None,
    ) -> None:
        self.seed = seed
        self._method = parse(method)
        self._hyperparameters = dict(hyperparameters or {})
        self.budget: float = math.inf  # epochs after which a short run stops
        self.limits: Sequence[float] = ()  # validation losses above which a search prunes the run
        self.others: Sequence[Expression] = ()  # methods to try on copies of the model
        self._recipe = own_recipe(self._method, self._hyperparameters)
        self._models = nn.ModuleList()
        self._best = Best("min")
        self._set_rates: Callable[[float], None] | None = None
        self._epoch = 0
        self._started = time.perf_counter()
        self.seen = Seen()

    @property
    def method(self) -> str:
        """The method of this run."""
        return str(self._method)

    @property
    def diverged(self) -> bool:
        """Whether the last logged loss is NaN or infinite."""
        last = self.seen.log[-1:]
        losses = [loss for entry in last for loss in (entry.train_loss, entry.val_loss)]
        return not all(loss is None or math.isfinite(loss) for loss in losses)

    @property
    def selected(self) -> int:
        """The epoch, from 1, whose weights are scored."""
        best = self._best.time if self._recipe.restore_best else None
        return max(1, len(self.seen.log)) if best is None else best + 1

    @property
    def pruned(self) -> bool:
        """Whether a search stops the run because its validation loss is worse than in others."""
        losses = [entry.val_loss for entry in self.seen.log if entry.val_loss is not None]
        ends = range(1, len(losses) + 1)
        return not self.diverged and any(falls_behind(losses[:n], self.limits) for n in ends)

    @property
    def stopped(self) -> bool:
        """Whether to end the training now: by early stopping, pruning, divergence or the budget."""
        patience, last = self._recipe.patience, len(self.seen.log) - 1
        waited = patience is not None and last - (self._best.time or 0) >= patience
        return waited or self.pruned or self.diverged or self._epoch >= self.budget

    def suggest(
        self, name: str, low: float, high: float, *, log: bool = False, default: float | None = None
    ) -> float:
        """Return a hyperparameter that tuning searches, with equally many trials for every method.

        Args:
            name: the name of the hyperparameter in the report, such as ``lr``.
            low: the lowest value to search.
            high: the highest value to search.
            log: whether to search on a logarithmic scale.
            default: the value to return without a search; by default the middle of the range.
        """
        if not (math.isfinite(low) and math.isfinite(high) and low < high and (low > 0 or not log)):
            raise StudyError(
                f"run.suggest({name!r}) needs low < high, and above 0 if log, got {low} and {high}"
            )
        middle = math.sqrt(low * high) if log else (low + high) / 2
        value = middle if default is None else float(default)
        if not low <= value <= high:
            raise StudyError(f"the default of {name!r} must lie in [{low}, {high}], got {value}")
        argument = Argument(name, value, "", low, high, tune=(low, high), log=log)
        if self.seen.suggested.setdefault(name, argument) != argument:
            raise StudyError(f"{name!r} is suggested twice, with different ranges or defaults")
        return self._hyperparameters.get(name, value)

    def regularize(self, model: nn.Module) -> nn.Module:
        """Return the model with the method's layers.

        A method with dropout replaces the model's dropout layers; in a model without any, it adds
        layers after the hidden activation modules. Other methods remove the model's dropout, except
        ``as-is``, which keeps it.

        Raises:
            StudyError: the model has no place for the method's layers.
        """
        self.seen.calls.add("regularize")
        if not isinstance(model, nn.Module):
            raise StudyError(f"run.regularize needs the model, a torch.nn.Module, got {model!r}")
        self.seen.weights.append(digest_weights(model))
        with torch.random.fork_rng():  # so that new layers do not change the user's random numbers
            for method in self.others:
                _put_into(deepcopy(model), method, own_recipe(method))
            model = _put_into(model, self._method, self._recipe)
        watch_first_batch(model, self.see_batch)
        add_input_noise(model, self._recipe.inputs)
        self._models.append(model)
        return model

    def parameter_groups(self, model: nn.Module, weight_decay: float = 0.0) -> list[dict[str, Any]]:
        """Return parameter groups for an optimizer, with the method's weight decay added to yours.

        Biases and normalization layers are not decayed; see `dropkit.param_groups.decay_groups`.
        """
        self.seen.calls.add("parameter_groups")
        recipe = own_recipe(self._method, self._hyperparameters, weight_decay)
        return decay_groups(model, recipe.weight_decay)

    def penalty(self, model: nn.Module, rows: int | None = None) -> Tensor | float:
        """Return the penalty to add to the loss of a batch; 0.0 if the method has none.

        Args:
            model: the model.
            rows: number of rows of the training set, which methods with learned rates need.
        """
        is_first = "penalty" not in self.seen.calls
        self.seen.calls.add("penalty")
        total: Tensor | float = 0.0
        for penalty in self._recipe.penalties:
            # With NaN for an unknown number of rows, a penalty that divides by it becomes NaN.
            total = total + penalty(model, cast(int, math.nan) if rows is None else rows)
        if is_first and rows is None and isinstance(total, Tensor) and total.isnan().item():
            raise StudyError(
                f"{self.method} divides its penalty by the number of training rows: write "
                "run.penalty(model, rows=len(train_set))"
            )
        return total

    def after_step(self, model: nn.Module) -> None:
        """Count the update and apply constraints; call it after ``optimizer.step()``."""
        self.seen.calls.add("after_step")
        self.seen.steps += 1
        if self._recipe.max_norm is not None:
            max_norm_(model, self._recipe.max_norm)

    def epochs(self, count: int) -> Iterator[int]:
        """Yield 0 to ``count`` - 1, or fewer if the method stops early.

        At the end, the models given to `regularize` have the weights to score: the last ones or,
        with early stopping, those with the best validation loss.
        """
        try:
            for epoch in range(count):
                self.begin_epoch(count)
                yield epoch
                if self.stopped:
                    break
        finally:  # also if the function leaves its loop
            self.end()

    def begin_epoch(self, count: int) -> None:
        """Begin the next of ``count`` epochs; call it in a loop that cannot use `epochs`."""
        self.seen.calls.add("epochs")
        self.seen.planned = count
        if self._set_rates is None:
            self._set_rates = make_annealing(self._models, self._recipe, count)
        self._set_rates(self._epoch)
        seed_generators(self.seed, self._epoch)
        self._epoch += 1

    def end(self) -> None:
        """Restore the best weights if the method needs them, after a loop without `epochs`."""
        if self._recipe.restore_best:
            self._best.restore(self._models)

    def log(
        self,
        *,
        train_loss: Tensor | float | None = None,
        val_loss: Tensor | float | None = None,
        val_metric: Tensor | float | None = None,
    ) -> None:
        """Record the losses of an epoch for curves, early stopping and tuning.

        Call it once at the end of every epoch. Do not log test rows: they are scored once, in the
        `Outcome`.

        Args:
            train_loss: mean loss of the training rows.
            val_loss: loss of the validation rows, used by early stopping and tuning.
            val_metric: the metric of the `Outcome` on the validation rows.
        """
        self.seen.calls.add("log")
        losses = [to_float(value) for value in (train_loss, val_loss, val_metric)]
        steps, seconds = self.seen.steps, time.perf_counter() - self._started
        self.seen.log.append(Logged(steps, seconds, *losses))
        if losses[1] is not None:
            self.seen.calls.add(LOG)
            kept: nn.Module | dict[str, Any] = self._models if self._recipe.restore_best else {}
            self._best.see(losses[1], len(self.seen.log) - 1, kept)

    def see_batch(self, batch: Any) -> None:
        """Record the first batch, to check that runs with the same seed start with the same batch.

        The model that `regularize` returns does this at its first call. Call it yourself if the
        training loop calls only parts of the model.
        """
        self.seen.batch = self.seen.batch or digest_batch(batch)

    def lightning_callbacks(
        self, *, val_loss: str = "val_loss", val_metric: str = "", train_loss: str = "train_loss"
    ) -> list[Any]:
        """Return callbacks that apply the method in a Lightning ``Trainer(callbacks=...)``.

        The callbacks replace the calls in a manual loop: they begin epochs, apply the penalty and
        the constraint in every step, and log the losses of every epoch. They end the training when
        the run is `stopped`, and restore the best weights if the method stops early.

        Args:
            val_loss: the logged value that early stopping and tuning use.
            val_metric: the logged value of the metric of the `Outcome`, if there is one.
            train_loss: the logged value of the training loss.
        """
        from dropkit.study.training.callbacks.lightning import TrainingRunCallback

        return [
            TrainingRunCallback(
                self, val_loss=val_loss, val_metric=val_metric, train_loss=train_loss
            )
        ]

    def transformers_callbacks(
        self, *, val_loss: str = "eval_loss", val_metric: str = ""
    ) -> list[Any]:
        """Return callbacks that apply the method in Hugging Face's ``Trainer(callbacks=...)``.

        Pass ``seed=run.seed`` to ``TrainingArguments``. Also pass ``eval_strategy="epoch"`` for
        curves, early stopping and tuning.

        Args:
            val_loss: the name of the evaluation metric that early stopping and tuning use.
            val_metric: the name of the evaluation metric that the `Outcome` uses, if there is one.
        """
        from dropkit.study.training.callbacks.transformers import TrainingRunCallback

        return [TrainingRunCallback(self, val_loss=val_loss, val_metric=val_metric)]

    def skorch_callbacks(self, *, val_loss: str = "valid_loss", val_metric: str = "") -> list[Any]:
        """Return callbacks that apply the method in skorch's ``NeuralNet(callbacks=...)``.

        Args:
            val_loss: the entry of ``net.history`` that early stopping and tuning use.
            val_metric: the entry for the metric of the `Outcome`, if there is one.
        """
        from dropkit.study.training.callbacks.skorch import TrainingRunCallback

        return [TrainingRunCallback(self, val_loss=val_loss, val_metric=val_metric)]


def _put_into(model: nn.Module, method: Expression, recipe: Recipe) -> nn.Module:
    try:
        return regularize(model, recipe)
    except (StudyError, ValueError) as error:
        raise StudyError(f"{method} does not suit the model: {error}") from error

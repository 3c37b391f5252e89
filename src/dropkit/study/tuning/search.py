"""Tune arguments with the same number of trials for every method, on validation rows only."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from dropkit.study.limits import DRAWN
from dropkit.study.methods.method import Argument
from dropkit.study.record import Run

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def search(
    arguments: Sequence[Argument], trials: int, *, seed: int = 0
) -> Generator[list[dict[str, float]], list[Run], dict[str, float]]:
    """Search arguments with Optuna: a generator that yields values and receives finished runs.

    The first trial uses the defaults. The objective is the validation loss of the scored weights. A
    diverged run counts as the worst; a pruned run is reported to Optuna as pruned. The first ten
    trials are independent of each other and are requested together; later trials are requested one
    by one. So the search does not depend on the number of parallel runs, and repeats exactly when a
    study is resumed.

    Args:
        arguments: the arguments to search, each with its range.
        trials: maximum number of runs.
        seed: seed of the sampler: the seed of the runs.

    Returns:
        The arguments of the best trial that finished; empty if no trial finished.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searched = space(arguments)
    defaults = {argument.name: argument.default for argument in arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=DRAWN)
        )
    study.enqueue_trial(convert_for_optuna(searched, defaults))
    best: tuple[float, dict[str, float]] = (math.inf, {})
    done = 0
    while done < trials:
        asked = [study.ask(searched) for _ in range(1 if done else min(DRAWN, trials))]
        hyperparameters = [trial.params for trial in asked]
        runs = yield hyperparameters
        for trial, values, run in zip(asked, hyperparameters, runs, strict=True):
            if run.status == "pruned":
                for epoch, value in list_pruning_losses(run).items():
                    trial.report(value, epoch)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            loss = _validation_loss(run)
            study.tell(trial, loss)
            if loss < best[0]:
                best = (loss, values)
        done += len(asked)
    return best[1]


def _validation_loss(run: Run) -> float:
    """Return the validation loss of the scored weights, or the loss that was logged."""
    loss = run.val.loss if run.val else run.curve.val_loss[run.selected_epoch - 1]
    return math.inf if loss is None or run.status == "diverged" else loss


def space(arguments: Sequence[Argument]) -> dict[str, BaseDistribution]:
    """Return the range of every argument for Optuna, widened to include its default."""
    from optuna.distributions import FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for argument in arguments:
        assert argument.tune is not None, f"{argument.name} has no range"
        low = min(argument.tune[0], argument.default)
        high = max(argument.tune[1], argument.default)
        if argument.whole:
            found[argument.name] = IntDistribution(int(low), int(high))
        else:
            found[argument.name] = FloatDistribution(low, high, log=argument.log and low > 0)
    return found


def convert_for_optuna(
    searched: dict[str, BaseDistribution], arguments: dict[str, float]
) -> dict[str, float]:
    """Return the searched arguments of a run in Optuna's representation."""
    return {
        key: distribution.to_external_repr(arguments[key]) for key, distribution in searched.items()
    }


def list_pruning_losses(run: Run) -> dict[int, float]:
    """Return the losses that pruning uses, by epoch from 1, as Optuna's intermediate values."""
    return {epoch: loss for epoch, loss in enumerate(run.curve.pruning_loss, 1) if loss is not None}

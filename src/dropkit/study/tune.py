"""Tuning: the same number of trials for every method, judged on validation rows alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING

from dropkit.study.expression import Expression
from dropkit.study.method import Argument
from dropkit.study.results import Run

if TYPE_CHECKING:
    from optuna import Trial

TUNING_SEED = 0
LR_SPAN = 10.0
DRAWN = 10  # trials before the search goes by the results of others


def search(
    expression: Expression, lr: float, trials: int, *, seed: int = TUNING_SEED
) -> Generator[list[dict[str, float]], list[Run], dict[str, float]]:
    """Search a method's arguments with Optuna: yields arguments, is sent the finished trainings.

    Every method's search holds the learning rate, from a tenth of ``lr`` to ten times it on a
    logarithmic scale, and the arguments that declare a range; the first trial is the defaults.
    The objective is the validation loss of the weights that the study scores; a training that
    diverged counts as the worst. The first ten trials, drawn whatever comes of the others, are
    asked for together, and the later ones one by one; so the search is the same however many
    trainings run side by side, and repeats itself when finished trainings are sent again.

    Args:
        expression: the method.
        lr: the study's learning rate.
        trials: how many trainings the search may use.
        seed: of the sampler.

    Returns:
        The arguments of the best trial; empty if every one diverged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tunable = {
        f"{term.method.name}.{argument.name}": argument
        for term in expression.terms
        for argument in term.method.arguments
        if argument.tune is not None
    }
    values = {
        key: int(value) if key in tunable and tunable[key].whole else value
        for key, value in expression.arguments().items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=DRAWN)
        )
    study.enqueue_trial({"lr": lr} | {key: values[key] for key in tunable})
    best: tuple[float, dict[str, float]] = (math.inf, {})
    done = 0
    while done < trials:
        asked = [study.ask() for _ in range(1 if done else min(DRAWN, trials))]
        chosen = [_suggested(trial, lr, tunable, values) for trial in asked]
        runs = yield chosen
        for trial, arguments, run in zip(asked, chosen, runs, strict=True):
            loss = math.inf if run.val is None else run.val.loss
            study.tell(trial, loss)
            if loss < best[0]:
                best = (loss, arguments)
        done += len(asked)
    return best[1]


def _suggested(
    trial: Trial, lr: float, tunable: dict[str, Argument], values: dict[str, float]
) -> dict[str, float]:
    """What a trial tries: the learning rate and every argument that declares a range."""
    chosen: dict[str, float] = {
        "lr": trial.suggest_float("lr", lr / LR_SPAN, lr * LR_SPAN, log=True)
    }
    for key, argument in tunable.items():
        assert argument.tune is not None
        low, high = argument.tune
        low, high = min(low, values[key]), max(high, values[key])
        if argument.whole:
            chosen[key] = trial.suggest_int(key, int(low), int(high))
        else:
            chosen[key] = trial.suggest_float(key, low, high, log=argument.log and low > 0)
    return chosen

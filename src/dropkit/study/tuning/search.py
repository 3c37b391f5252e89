"""Tuning: the same number of trials for every method, judged on validation rows alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator
from typing import TYPE_CHECKING

from dropkit.study.limits import DRAWN
from dropkit.study.methods.expression import Expression
from dropkit.study.record import Run
from dropkit.study.seeds import TUNING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LR_SPAN = 10.0


def search(
    expression: Expression, lr: float, trials: int, *, seed: int = TUNING
) -> Generator[list[dict[str, float]], list[Run], dict[str, float]]:
    """Search a method's arguments with Optuna: yields arguments, is sent the finished trainings.

    Every method's search holds the learning rate, from a tenth of ``lr`` to ten times it on a
    logarithmic scale, and the arguments that declare a range; the first trial is the defaults.
    The objective is the validation loss of the weights that the study scores; a training that
    diverged counts as the worst, and one that was pruned as pruned, after so many epochs with
    such a loss. The first ten trials, drawn whatever comes of the others, are
    asked for together, and the later ones one by one; so the search is the same however many
    trainings run side by side, and repeats itself when finished trainings are sent again.

    Args:
        expression: the method.
        lr: the study's learning rate.
        trials: how many trainings the search may use.
        seed: of the sampler.

    Returns:
        The arguments of the best trial that finished; empty if every one diverged.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searched = space(expression, lr)
    defaults = {"lr": lr} | expression.arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=DRAWN)
        )
    study.enqueue_trial(inside(searched, defaults))
    best: tuple[float, dict[str, float]] = (math.inf, {})
    done = 0
    while done < trials:
        asked = [study.ask(searched) for _ in range(1 if done else min(DRAWN, trials))]
        chosen = [trial.params for trial in asked]
        runs = yield chosen
        for trial, arguments, run in zip(asked, chosen, runs, strict=True):
            if run.status == "pruned":
                for epoch, value in judged(run).items():
                    trial.report(value, epoch)
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                continue
            loss = math.inf if run.val is None or run.val.loss is None else run.val.loss
            study.tell(trial, loss)
            if loss < best[0]:
                best = (loss, arguments)
        done += len(asked)
    return best[1]


def space(expression: Expression, lr: float) -> dict[str, BaseDistribution]:
    """What a method's search varies: the learning rate and every argument with a range."""
    from optuna.distributions import FloatDistribution, IntDistribution

    values = expression.arguments()
    found: dict[str, BaseDistribution] = {
        "lr": FloatDistribution(lr / LR_SPAN, lr * LR_SPAN, log=True)
    }
    for term in expression.terms:
        for argument in term.method.arguments:
            if argument.tune is None:
                continue
            key = f"{term.method.name}.{argument.name}"
            low, high = min(argument.tune[0], values[key]), max(argument.tune[1], values[key])
            if argument.whole:
                found[key] = IntDistribution(int(low), int(high))
            else:
                found[key] = FloatDistribution(low, high, log=argument.log and low > 0)
    return found


def inside(searched: dict[str, BaseDistribution], arguments: dict[str, float]) -> dict[str, float]:
    """Those of a training's arguments that the search varies, as Optuna holds them."""
    return {
        key: distribution.to_external_repr(arguments[key]) for key, distribution in searched.items()
    }


def judged(run: Run) -> dict[int, float]:
    """What Optuna calls intermediate values: by epoch, from 1, the loss that pruning goes by."""
    return {epoch: loss for epoch, loss in enumerate(run.curve.pruning_loss, 1) if loss is not None}

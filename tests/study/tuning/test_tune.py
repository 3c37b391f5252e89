"""Tuning: equal numbers of trials, repeatable, the defaults among them."""

import dataclasses
import math

import optuna
import pytest

from dropkit.study import Run, Scores
from dropkit.study.methods.method import Argument, learning_rate
from dropkit.study.methods.parsing import parse
from dropkit.study.record import Curve, Timing
from dropkit.study.tuning.search import search


def with_lr(expression: str) -> tuple[Argument, ...]:
    """What a study at a learning rate of 0.1 searches for a method."""
    return (learning_rate(0.1), *parse(expression).searched())


def run_with(loss: float | None) -> Run:
    scores = None if loss is None else Scores(loss, 0.1, 0.0)
    curve = Curve((1,), (1.0,), (1.0,), (0.1,))
    status = "diverged" if loss is None else "finished"
    return Run("m", 0, status, 1, 1, {}, curve, None, scores, None, None, Timing(1.0, 1.0))


def drive(
    expression: str, trials: int, loss: object
) -> tuple[list[dict[str, float]], dict[str, float]]:
    searching = search(with_lr(expression), trials)
    asked, together = [], next(searching)
    try:
        while True:
            asked += together
            together = searching.send([run_with(loss(one)) for one in together])  # type: ignore[operator]
    except StopIteration as stop:
        return asked, stop.value


def distance(values: dict[str, float]) -> float:
    return abs(math.log10(values["lr"] / 0.03)) + abs(values.get("dropout.p", 0.3) - 0.3)


@pytest.mark.parametrize(
    "expression", ["none", "dropout", "weight-decay+max-norm", "early-stopping"]
)
def test_equal_trials_from_the_defaults_within_the_ranges(expression: str) -> None:
    asked, best = drive(expression, 12, distance)
    assert len(asked) == 12
    defaults = parse(expression).arguments()
    assert asked[0] == {"lr": 0.1} | {k: v for k, v in defaults.items() if k in asked[0]}
    assert all(0.01 <= values["lr"] <= 1.0 for values in asked)
    assert best in asked
    assert distance(best) == min(map(distance, asked))


def test_the_same_search_twice() -> None:
    assert drive("dropout", 15, distance) == drive("dropout", 15, distance)


@pytest.mark.parametrize("trials", [3, 10, 14])
def test_trials_asked_for_together_are_those_asked_for_one_by_one(trials: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    study.enqueue_trial({"lr": 0.1})
    rates = []
    for _ in range(trials):
        trial = study.ask()
        rates.append({"lr": trial.suggest_float("lr", 0.01, 1.0, log=True)})
        study.tell(trial, distance(rates[-1]))
    assert drive("none", trials, distance)[0] == rates


def test_the_first_ten_wait_for_none() -> None:
    searching = search(with_lr("dropout"), 12)
    together = next(searching)
    assert len(together) == 10
    assert len(searching.send([run_with(distance(one)) for one in together])) == 1


def test_searching_helps() -> None:
    asked, best = drive("dropout", 30, distance)
    assert distance(best) < distance(asked[0])


def test_a_diverged_trial_is_the_worst_and_all_diverged_choose_nothing() -> None:
    def diverges_above(values: dict[str, float]) -> float | None:
        return None if values["lr"] > 0.05 else distance(values)

    _, best = drive("none", 15, diverges_above)
    assert best["lr"] <= 0.05
    assert drive("none", 3, lambda values: None)[1] == {}


def test_runs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        run_with(1.0).seed = 3  # type: ignore[misc]

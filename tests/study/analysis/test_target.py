"""When a method is as good as the baseline at its best, and what one equal to it shows."""

import math

import numpy as np
import pytest

from dropkit.study.analysis.summary import summarize
from dropkit.study.analysis.target import Target, measure_target
from dropkit.study.record import Run
from dropkit.study.record.measure import ERROR
from helpers.fabricated import make_record, make_run


def test_by_hand() -> None:
    runs = [
        # Validation errors are a tenth of these losses; steps are 10 an epoch.
        make_run("none", 0, 0.10, val_loss=(1.0, 0.5, 0.4, 0.6), seconds=4.0),
        make_run("none", 1, 0.12, val_loss=(1.0, 0.9, 0.8, 0.7), seconds=4.0),
        make_run("dropout", 0, 0.08, val_loss=(0.9, 0.4, 0.3, 0.2), seconds=8.0),
        make_run("dropout", 1, 0.09, val_loss=(1.0, 0.9, 0.8, 0.71), seconds=8.0),
    ]
    record = make_record({"none": [0.1, 0.12], "dropout": [0.08, 0.09]}, runs=runs)
    plain, dropout = (summary.target for summary in summarize(record))
    assert (plain.reached, plain.baseline_reached, plain.seeds) == (2, 2, 2)
    assert plain.updates is not None
    assert plain.seconds is not None
    assert (plain.updates.mean, plain.seconds.mean) == (1.0, 1.0)
    # Dropout gains 0.2 and -0.01. The targets are (0.4 + 0.2 - 0.01) / 2 = 0.295, which dropout
    # reaches in epoch 4 and the baseline never, and 0.71 (not 0.805), which both have in epoch 4.
    assert (dropout.reached, dropout.baseline_reached, dropout.seeds) == (2, 1, 2)
    assert dropout.updates is not None
    assert dropout.seconds is not None
    assert dropout.updates.mean == pytest.approx((40 + 40) / (40 + 40))
    assert dropout.seconds.mean == pytest.approx((8 + 8) / (4 + 4))


def test_a_method_that_is_better_by_as_much_in_every_seed() -> None:
    """Then the target is the baseline's best itself."""
    curves = [(0.9, 0.5, 0.4), (0.9, 0.6, 0.5), (0.8, 0.5, 0.4)]
    runs = [make_run("none", seed, 0.1, val_loss=curve) for seed, curve in enumerate(curves)]
    better = [(0.5, 0.3, 0.2), (0.7, 0.5, 0.3), (0.4, 0.3, 0.2)]
    runs += [make_run("l1", seed, 0.1, val_loss=curve) for seed, curve in enumerate(better)]
    record = make_record({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs)
    target = summarize(record)[1].target
    assert (target.reached, target.baseline_reached) == (3, 3)
    assert target.updates is not None
    assert target.updates.mean == pytest.approx((20 + 20 + 10) / 90)
    # The residuals are 20 - 50/3, 20 - 50/3 and 10 - 50/3, over the baseline's 30.
    half = 4.303 * np.std([20 / 30, 20 / 30, 10 / 30], ddof=1) / math.sqrt(3)
    assert target.updates.half == pytest.approx(half, rel=1e-3)


def test_who_never_gets_there_counts_with_the_budget() -> None:
    curves = [(0.4, 0.4), (0.9, 0.9)]
    runs = [make_run("none", seed, 0.1, val_loss=(0.5, 0.3, 0.2)) for seed in range(2)]
    runs += [make_run("l1", seed, 0.1, val_loss=curve) for seed, curve in enumerate(curves)]
    record = make_record({"none": [0.1] * 2, "l1": [0.1] * 2}, runs=runs)
    target = summarize(record)[1].target
    # The gains are -0.2 and -0.7: targets 0.2 instead of (0.2 + 0.4 - 0.7) / 2, and
    # (0.2 + 0.9 - 0.2) / 2, which the baseline has after 30 and 20 updates.
    assert (target.reached, target.baseline_reached, target.seeds) == (0, 2, 2)
    assert target.updates is not None
    # It stops early after 20 updates, and counts with the 30 of the baseline.
    assert target.updates.mean == pytest.approx((30 + 30) / (30 + 20))


def test_diverged_runs_do_not_reach_it() -> None:
    runs = [
        make_run("none", 0, 0.10, val_loss=(1.0, 0.5)),
        make_run("none", 1, None, val_loss=(1.0, None)),
        make_run("dropout", 0, None, val_loss=(0.9, 0.4, None)),
        make_run("dropout", 1, 0.1, val_loss=(0.9, 0.4)),
    ]
    record = make_record({"none": [0.1, None], "dropout": [None, 0.1]}, runs=runs)
    plain, dropout = (summary.target for summary in summarize(record))
    assert (plain.reached, plain.seeds) == (1, 1)
    # Where the baseline diverged there is no target, however easy a mark its first loss would be.
    assert (dropout.seeds, dropout.reached, dropout.baseline_reached) == (1, 0, 1)
    assert dropout.updates is not None
    assert dropout.updates.mean == pytest.approx(30 / 20)


def test_old_results_have_no_seconds_of_epochs() -> None:
    record = make_record({"none": [0.1, 0.2], "l1": [0.1, 0.2]})
    for run in record.runs:
        object.__setattr__(run.timing, "epochs", ())
    for summary in summarize(record):
        assert summary.target.reached == 2
        assert summary.target.updates is not None
        assert summary.target.seconds is None


@pytest.mark.parametrize("losses", [(None, None), (1.0, None)])
def test_a_curve_without_numbers(losses: tuple[float | None, ...]) -> None:
    runs = [make_run("none", 0, 0.1, val_loss=losses), make_run("l1", 0, 0.1, val_loss=(None, 2))]
    _, l1 = summarize(make_record({"none": [0.1], "l1": [0.1]}, runs=runs))
    if losses == (None, None):
        assert l1.target == Target(0, 0, 0, None, None)
    else:  # the target is between 1.0 and 2.0
        assert (l1.target.reached, l1.target.baseline_reached) == (0, 1)


def draw_curve(rng: np.random.Generator, shift: float, epochs: int = 30, rows: int = 287) -> Run:
    """Errors on so many rows that fall, rise a little, and vary from epoch to epoch."""
    t = np.arange(1, epochs + 1)
    error = 0.05 + 0.3 * np.exp(-t / 5) + 0.0005 * np.maximum(0, t - 15) + shift
    error += 0.004 * rng.normal() + 0.003 * rng.normal(size=epochs)
    loss = 10 * np.round(rows * np.clip(error, 0, 1)) / rows
    return make_run("a", 0, 0.1, val_loss=tuple(map(float, loss)))


@pytest.mark.parametrize("seeds", [2, 5, 10])
def test_a_method_equal_to_the_baseline_shows_par(seeds: int) -> None:
    rng, rounds = np.random.default_rng(seeds), 500
    found = []
    for _ in range(rounds):
        shifts = 0.01 * rng.normal(size=seeds)  # how hard the validation rows of a seed are
        pairs = [(draw_curve(rng, shift), draw_curve(rng, shift)) for shift in shifts]
        found.append(measure_target(pairs, ERROR))
    ratios = np.array([target.updates.mean for target in found if target.updates])
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / math.sqrt(rounds)
    reached = np.array([target.reached - target.baseline_reached for target in found])
    assert abs(reached.mean()) < 4 * reached.std() / math.sqrt(rounds)
    held = [
        target.updates.low <= 1 <= target.updates.high
        for target in found
        if target.updates and target.updates.low is not None and target.updates.high is not None
    ]
    assert np.mean(held) > 0.95 - 4 * math.sqrt(0.95 * 0.05 / rounds)

"""When a method is as good as the baseline ever was."""

import pytest

from dropkit.study.analysis.summary import summarize
from dropkit.study.analysis.target import Target
from helpers.fabricated import make_record, make_run


def test_first_epoch_with_the_lowest_error_or_less_of_the_same_seed() -> None:
    runs = [
        # Validation errors are a tenth of these losses; steps are 10 an epoch.
        make_run("none", 0, 0.10, val_loss=(1.0, 0.5, 0.4, 0.6), seconds=4.0),
        make_run("none", 1, 0.12, val_loss=(1.0, 0.9, 0.8, 0.7), seconds=4.0),
        make_run("dropout", 0, 0.08, val_loss=(0.9, 0.4, 0.3, 0.2), seconds=8.0),
        make_run("dropout", 1, 0.09, val_loss=(1.0, 0.9, 0.8, 0.71), seconds=8.0),
    ]
    record = make_record({"none": [0.1, 0.12], "dropout": [0.08, 0.09]}, runs=runs)
    plain, dropout = (summary.target for summary in summarize(record))
    assert (plain.reached, plain.seeds) == (2, 2)
    assert plain.updates is not None
    assert plain.seconds is not None
    assert (plain.updates.mean, plain.seconds.mean) == (1.0, 1.0)
    assert (dropout.reached, dropout.seeds) == (1, 2)
    assert dropout.updates is not None
    assert dropout.seconds is not None
    assert dropout.updates.mean == pytest.approx(20 / 30)
    assert dropout.seconds.mean == pytest.approx(2 * (8 / 4) / (3 * (4 / 4)))


def test_never_reached_and_diverged() -> None:
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
    assert dropout == Target(1, 0, None, None)


def test_intervals_are_over_the_seeds_that_reached_it() -> None:
    curves = [(0.4, 0.3), (0.9, 0.4), (0.9, 0.9)]  # the baseline has 0.4 from the third epoch on
    runs = [make_run("l1", seed, 0.1, val_loss=curve) for seed, curve in enumerate(curves)]
    _, l1 = summarize(make_record({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs))
    assert (l1.target.seeds, l1.target.reached) == (3, 2)
    updates = l1.target.updates
    assert updates is not None
    # 1/3 and 2/3: mean 1/2, s = sqrt(2)/6, se = 1/6, t(1) = 12.706.
    assert updates.mean == pytest.approx(1 / 2)
    assert updates.high == pytest.approx(1 / 2 + 12.706 / 6, abs=1e-3)


def test_old_results_have_no_seconds_of_epochs() -> None:
    record = make_record({"none": [0.1, 0.2], "l1": [0.1, 0.2]})
    for run in record.runs:
        object.__setattr__(run.timing, "epochs", ())
    for summary in summarize(record):
        assert summary.target.reached == 2
        assert summary.target.updates is not None
        assert summary.target.seconds is None


@pytest.mark.parametrize(("losses", "seeds"), [((None, None), 0), ((1.0, None), 1)])
def test_a_curve_without_numbers_is_no_target(losses: tuple[float | None, ...], seeds: int) -> None:
    runs = [make_run("none", 0, 0.1, val_loss=losses), make_run("l1", 0, 0.1, val_loss=(None, 2))]
    _, l1 = summarize(make_record({"none": [0.1], "l1": [0.1]}, runs=runs))
    assert l1.target == Target(seeds, 0, None, None)

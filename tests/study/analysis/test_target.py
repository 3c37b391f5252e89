"""When a method is as good as the baseline ever was."""

import shlex
from pathlib import Path

import pytest

from dropkit import cli
from dropkit.study import Results
from dropkit.study.analysis.target import reaches
from dropkit.study.report import bench
from helpers.fabricated import make_results, make_run


def test_first_epoch_with_the_lowest_error_or_less_of_the_same_seed() -> None:
    runs = [
        # Validation errors are a tenth of these losses; steps are 10 an epoch.
        make_run("none", 0, 0.10, val_loss=(1.0, 0.5, 0.4, 0.6), seconds=4.0),
        make_run("none", 1, 0.12, val_loss=(1.0, 0.9, 0.8, 0.7), seconds=4.0),
        make_run("dropout", 0, 0.08, val_loss=(0.9, 0.4, 0.3, 0.2), seconds=8.0),
        make_run("dropout", 1, 0.09, val_loss=(1.0, 0.9, 0.8, 0.71), seconds=8.0),
    ]
    results = make_results({"none": [0.1, 0.12], "dropout": [0.08, 0.09]}, runs=runs)
    plain, dropout = reaches(results)
    assert (plain.reached, plain.seeds) == (2, 2)
    assert plain.steps is not None
    assert plain.seconds is not None
    assert (plain.steps.mean, plain.seconds.mean, plain.step.mean) == (1.0, 1.0, 1.0)
    assert (dropout.reached, dropout.seeds) == (1, 2)
    assert dropout.steps is not None
    assert dropout.seconds is not None
    assert dropout.steps.mean == pytest.approx(20 / 30)
    assert dropout.seconds.mean == pytest.approx(2 * (8 / 4) / (3 * (4 / 4)))
    assert dropout.step.mean == pytest.approx(2.0)
    assert dropout.error.mean == pytest.approx(0.085)


def test_never_reached_and_diverged() -> None:
    runs = [
        make_run("none", 0, 0.10, val_loss=(1.0, 0.5)),
        make_run("none", 1, None, val_loss=(1.0, None)),
        make_run("dropout", 0, None, val_loss=(0.9, 0.4, None)),
        make_run("dropout", 1, 0.1, val_loss=(0.9, 0.4)),
    ]
    results = make_results({"none": [0.1, None], "dropout": [None, 0.1]}, runs=runs)
    plain, dropout = reaches(results)
    assert (plain.reached, plain.seeds) == (1, 1)
    assert (dropout.reached, dropout.seeds, dropout.steps, dropout.seconds) == (0, 1, None, None)
    assert dropout.error is None
    assert dropout.step is None


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = (
        "bench digits --methods none,torch-dropout,thinned-dropout --seeds 2 --tune 1 --epochs 3"
    )
    assert cli.run(shlex.split(f"{words} --hidden 128 --out run")) == 0
    out = capsys.readouterr().out
    assert "as a multiple of what none takes" in " ".join(out.split())
    rows = {line.split()[0]: line.split() for line in out.splitlines() if " of 2 " in line}
    assert rows["none"][1:6] == ["2", "of", "2", "1.00", "1.00"]
    results = Results.load(Path("run"))
    assert [reach.method for reach in reaches(results)] == list(rows)
    for run in results.runs:
        seconds = run.timing.epochs
        assert len(seconds) == 3
        assert 0 < seconds[0] < seconds[1] < seconds[2] < run.timing.seconds
        assert seconds[2] == pytest.approx(run.timing.seconds_per_step * run.steps, rel=0.2)


def test_the_table_of_small_numbers_and_of_runs_that_diverged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors = {"none": [0.0031, 0.0032, 0.0030], "l1": [0.0025, None, None]}
    bench.show(make_results(errors, task="regression"))
    plain, l1 = capsys.readouterr().out.splitlines()[1:3]
    assert "0.00310 ± 0.00025" in plain
    assert l1.startswith("l1 (2 of 3 diverged)")
    assert "0.00250" in l1

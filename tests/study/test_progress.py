"""What a study says while it runs."""

import time

import pytest

from dropkit.study.progress import StudyProgress
from dropkit.study.record.measure import ERROR, RMSE
from helpers.fabricated import make_run


def test_a_log_gets_one_plain_line_per_training(capsys: pytest.CaptureFixture[str]) -> None:
    with StudyProgress(3, 1, ERROR, ["none", "dropout"]) as progress:
        progress.finished(make_run("none", 0, 0.2))
        progress.finished(make_run("dropout", 0, None))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "1 of 3 runs are already done",
        "[2/3] none, seed 0: validation error 20.00 %, 2.0 s",
        "[3/3] dropout, seed 0: diverged, 2.0 s; best on validation: none 20.00 %",
    ]


def test_only_seeds_that_every_method_has_finished_decide_the_lead() -> None:
    progress = StudyProgress(4, 0, ERROR, ["none", "dropout"], show=False)
    progress.known(make_run("none", 0, 0.2))
    assert progress._leading() == ""
    progress.known(make_run("dropout", 0, 0.1))
    assert "dropout 10.00 %" in progress._leading()
    progress.known(make_run("none", 1, 0.0))  # an easier seed, without its partner so far
    assert "dropout 10.00 %" in progress._leading()
    progress.known(make_run("dropout", 1, None))
    assert "none 10.00 %" in progress._leading()


@pytest.mark.parametrize("error", [None, 0.2])
def test_no_method_leads_when_all_diverged_or_err_alike(error: float | None) -> None:
    progress = StudyProgress(2, 0, RMSE, ["none", "l1"], show=False)
    for method in ("none", "l1"):
        progress.known(make_run(method, 0, error))
    assert progress._leading() == ""


def test_the_time_left_does_not_count_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with StudyProgress(10, 0, RMSE, ["none"]) as progress:
        for seed, end in enumerate((500.0, 560.0, 620.0)):  # 60 s each after a slow start
            now = end
            progress.finished(make_run("none", seed, 1.5))
    first, second, third = capsys.readouterr().err.splitlines()
    assert "left" not in first
    assert "about 8 min left" in second
    assert "about 7 min left" in third


def test_a_terminal_gets_a_live_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    with StudyProgress(1, 0, RMSE, ["none"]) as progress:
        progress.finished(make_run("none", 0, 1.5))
    err = capsys.readouterr().err
    assert "1/1" in err
    assert "━" in err
    assert "[1/1]" not in err

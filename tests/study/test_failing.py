"""Trainings that fail while others do not: they are named, the others are done and kept."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from torch import Tensor, nn

from dropkit.cli import run
from dropkit.study import Run, Study, StudyError, compare
from dropkit.study.data import from_arrays
from dropkit.study.training import time_limit, work
from dropkit.study.training.folds import make_fold

STUDY = ["compare", "digits", "--methods", "none", "--seeds", "3", "--epochs", "1"]

MODEL = """
import os, time, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat, self.out = nn.Flatten(), nn.Linear(64, 10)
        # The first initial weight tells the seeds apart; seed 1 is the one that fails.
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.bad = torch.equal(nn.Linear(64, 10).weight, self.out.weight)

    def forward(self, x):
        if self.bad and not os.path.exists({mended!r}):
            {fault}
        return self.out(self.flat(x))
"""


# The limit's timer is set, and this training's hour is over at once: on a busy machine, a limit of
# seconds would end those that it should not.
SOON = """import signal
            assert 3000 < signal.getitimer(signal.ITIMER_REAL)[0] <= 3600
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            """


def study(folder: Path, fault: str) -> list[str]:
    """A study of a net that has the fault with one of three seeds, until a file says it has not."""
    model = folder / "net.py"
    model.write_text(MODEL.format(fault=fault, mended=str(folder / "mended")))
    return [*STUDY, "--model", f"{model}:Net", "--out", str(folder / "run")]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("fault", "options", "reason"),
    [
        (
            f"{SOON}while True: time.sleep(1)",
            ["--time-limit", "60"],
            "took longer than the time limit of 60 minutes",
        ),
        (
            f"{SOON}try:\n                time.sleep(60)\n            except Exception: pass",
            ["--time-limit", "60"],
            "took longer than the time limit of 60 minutes",
        ),
        ("raise MemoryError", [], "ran out of memory"),
        ("torch.empty(2**60)", [], "ran out of memory"),
    ],
)
def test_one_that_fails_keeps_no_other_from_being_done(
    fault: str,
    options: list[str],
    reason: str,
    jobs: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [*study(tmp_path, fault), "--jobs", jobs, *options]
    assert run(words) == 2
    *progress, last = capsys.readouterr().err.splitlines()
    assert f"none, seed 1: {reason}" in " ".join(progress)
    assert last.startswith(f"dropkit: 1 of 3 trainings failed (none, seed 1: {reason}")
    assert last.endswith("the others are kept: repeat the command to resume")
    kept = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run/runs").iterdir()}
    assert len(kept) == 2

    (tmp_path / "mended").touch()
    assert run(words) == 0
    there = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run/runs").iterdir()}
    assert len(there) == 3
    assert kept.items() <= there.items()


STUCK = """
            import ctypes
            lock = ctypes.create_string_buffer(64)
            for _ in range(2):  # the second waits for ever, and no signal ends that
                ctypes.PyDLL(None).pthread_mutex_lock(lock)
"""


class Impatient(work.Work):
    def __call__(self, job: work.Job) -> Run | work.Failed:
        with patch.object(time_limit, "GRACE", 1):
            return super().__call__(job)


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="calls its C library")
def test_one_that_is_stuck_outside_of_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study(tmp_path, STUCK.strip()), "--jobs", "2", "--time-limit", "0.2"]
    with patch("dropkit.study.start.Work", Impatient):
        assert run(words) == 2
    *progress, last = capsys.readouterr().err.splitlines()
    lost = "none, seed 1: its worker was lost "
    times = f"{lost}3 times (exit code 1, perhaps after its time limit)"
    assert last.startswith(f"dropkit: {times}; the others are kept")
    again = [line for line in progress if not line.startswith("[")]
    assert all(line.startswith(lost) for line in again)
    assert again[-1] == times
    assert len(list((tmp_path / "run/runs").iterdir())) == 2


def test_a_trial_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = work.train_once
    failing = iter([True])

    def fails_once(*arguments: object, **named: object) -> object:
        if named["test"] is False and next(failing, False):
            raise MemoryError
        return real(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "train_once", fails_once)
    words = [*STUDY, "--tune", "2", "--jobs", "1", "--out", str(tmp_path / "run")]
    assert run(words) == 2
    assert "none, seed 0, trial 1: ran out of memory" in capsys.readouterr().err
    assert run(words) == 0


def test_a_method_whose_trials_always_fail_keeps_no_other_from_being_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = work.train_once

    def fails(study: object, make: object, fold: object, method: str, *more: object, **named: Any):  # type: ignore[no-untyped-def]
        if str(method) == "l1" and named["hyperparameters"]["lr"] > 0.05:
            raise MemoryError
        return real(study, make, fold, method, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "train_once", fails)
    words = [*STUDY, "--tune", "11", "--jobs", "1", "--out", str(tmp_path / "run")]
    words[3] = "none,l1,weight-decay"
    assert run(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "trainings failed" in last
    assert last.endswith("repeat the command to resume, or leave out l1")
    kept = [file.name.partition("-")[0] for file in (tmp_path / "run/runs").iterdir()]
    assert sorted(kept) == ["none"] * 3 + ["weight"] * 3
    words[3] = "none,weight-decay"
    assert run(words) == 0
    assert "72 of 72 runs are already done" in capsys.readouterr().err


def test_numbers_for_test_rows_that_are_none(tmp_path: Path) -> None:
    class Logarithm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.log())  # type: ignore[no-any-return]

    X = np.random.default_rng(0).uniform(1, 2, (60, 2)).astype(np.float32)
    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1, "preprocess": False}
    test = {"X_test": X * [0, 1], "y_test": X[:, 0] > 1.5, "out": tmp_path / "run"}
    with pytest.raises(StudyError, match="NaN or infinite numbers for test rows"):
        compare(X, X[:, 0] > 1.5, model=Logarithm, **settings, **test)
    assert not list((tmp_path / "run/runs").iterdir())


def test_a_network_that_fits_the_columns_of_one_seed_alone() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 4)))
    table.iloc[0, 0] = np.nan  # a column of its own, where this row is one of training
    settings = {"methods": "none", "epochs": 1, "jobs": 1}
    y = rng.integers(0, 2, 200)
    widths = {
        make_fold(from_arrays(table, y), Study(data="arrays"), seed).inputs for seed in range(6)
    }
    assert widths == {(4,), (5,)}
    with pytest.raises(StudyError, match=r"rows are of shape . here and . with seed 0, .* inputs"):
        compare(table, y, model=lambda: nn.Linear(5, 2), seeds=6, **settings)
    fits = compare(table, y, model=lambda inputs: nn.Linear(inputs[0], 2), seeds=6, **settings)
    assert {each.status for each in fits.runs} == {"finished"}


def test_a_limit_is_kept_or_refused(tmp_path: Path) -> None:
    rows = np.zeros((40, 2), np.float32), np.arange(40) % 2
    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1, "time_limit": 1}
    with ThreadPoolExecutor() as pool, pytest.raises(StudyError, match="needs the main thread"):
        pool.submit(compare, *rows, **settings).result()


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "inf"])
def test_a_limit_that_is_none(
    limit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "run")
    assert run(["compare", "digits", "--epochs", "1", "--time-limit", limit, "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the time limit must be a number of minutes above 0" in line
    assert not Path(out).exists()

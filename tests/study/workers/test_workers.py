"""Processes side by side: what their start and their end cost."""

import gc
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dropkit.study import StudyError, compare
from dropkit.study.workers.local import LocalWorkers

OBJECTS = 100_000  # fewer than torch and Lightning bring


def collector(item: int) -> tuple[bool, int]:
    return gc.isenabled(), gc.get_freeze_count()


def test_a_worker_looks_for_garbage_but_not_in_what_it_imported() -> None:
    with LocalWorkers(2) as workers:
        for _, (enabled, spared) in workers.map(collector, range(2)):
            assert enabled
            assert spared > OBJECTS


def deadly(killed: Path, times: int, item: int) -> int:
    """End the process that has the third item, as often as it says."""
    if item == 2 and len(list(killed.iterdir())) < times:
        (killed / f"{os.getpid()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return -item


@pytest.mark.parametrize("times", [1, 2])
def test_what_a_killed_worker_had_is_begun_again(times: int, tmp_path: Path) -> None:
    said: list[str] = []
    with LocalWorkers(2) as workers:
        ended = list(workers.map(partial(deadly, tmp_path, times), range(9), said.append))
    assert sorted(ended) == [(item, -item) for item in range(9)]
    assert len(said) == times
    for line in said:
        assert re.fullmatch(r"a worker process was killed, .* during .*; begun again .*", line)


def test_what_kills_every_worker_keeps_nothing_else_from_being_done(tmp_path: Path) -> None:
    said: list[str] = []
    ended: list[int] = []
    kill = partial(deadly, tmp_path, 9)
    with LocalWorkers(2) as workers, pytest.raises(StudyError, match="during 2, as 2 times before"):
        ended += (item for item, _ in workers.map(kill, range(9), said.append))
    assert sorted(ended) == [0, 1, *range(3, 9)]
    assert said[-1].endswith("during 2, as 2 times before")


@pytest.mark.soak
def test_workers_end_in_silence() -> None:
    end = "get_reusable_executor().shutdown(wait=True)"
    code = (
        "from joblib.externals.loky import get_reusable_executor\n"
        "from dropkit.study.workers.local import LocalWorkers\n"
        f"with LocalWorkers(2) as workers: assert len(list(workers.map(abs, [1, 2]))) == 2\n{end}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_waits_for_rows_that_a_worker_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 200)).astype(np.float32)  # enough to be shared as a file
    y = (X[:, 0] > 0).astype(int)
    compare(X, y, methods="none,dropout", seeds=1, epochs=1, hidden=(4,), jobs=2)
    assert not list(tmp_path.rglob("*.pkl"))

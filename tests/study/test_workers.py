"""Processes side by side: what their start and their end cost."""

import gc
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dropkit.study import compare
from dropkit.study.workers import LocalWorkers

OBJECTS = 100_000  # fewer than torch and Lightning bring


def collector(item: int) -> tuple[bool, int]:
    return gc.isenabled(), gc.get_freeze_count()


def test_a_worker_looks_for_garbage_but_not_in_what_it_imported() -> None:
    with LocalWorkers(2) as workers:
        for _, (enabled, spared) in workers.map(collector, range(2)):
            assert enabled
            assert spared > OBJECTS


@pytest.mark.slow
def test_workers_end_in_silence() -> None:
    end = "get_reusable_executor().shutdown(wait=True)"
    code = (
        "from joblib.externals.loky import get_reusable_executor\n"
        "from dropkit.study.workers import LocalWorkers\n"
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

"""Worker processes of this machine: what they are given and what they return."""

import gc
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dropkit.study import StudyError
from dropkit.study.workers import launch
from dropkit.study.workers.local import LocalWorkers
from dropkit.study.workers.main import WorkerTraceback
from helpers.processes import PATIENCE, run_script, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def meet(folder: Path, item: int) -> int:
    """Return this process's id when the other item has been begun too."""
    (folder / f"begun-{item}").touch()
    until(lambda: len(list(folder.glob("begun-*"))) == 2)
    return os.getpid()


def test_two_work_at_a_time(workers: LocalWorkers, tmp_path: Path) -> None:
    processes = {process for _, process in workers.map(partial(meet, tmp_path), range(2))}
    assert len(processes) == 2
    assert os.getpid() not in processes


def test_a_single_one_is_this_process() -> None:
    with LocalWorkers(1) as workers:
        assert list(workers.map(lambda item: (item, os.getpid()), [1])) == [(1, (1, os.getpid()))]


def test_the_first_to_finish_comes_first(workers: LocalWorkers, tmp_path: Path) -> None:
    def wait_for_the_other(item: int) -> int:
        until(lambda: item or (tmp_path / "came").exists())
        return -item

    order = []
    for item, result in workers.map(wait_for_the_other, range(2)):
        order.append((item, result))
        (tmp_path / "came").touch()
    assert order == [(1, -1), (0, 0)]


def settings(_: int) -> tuple[Any, ...]:
    return (
        os.getcwd(),
        os.environ.get("OF_THIS_TEST"),
        os.environ["OMP_NUM_THREADS"],
        torch.get_num_threads(),
        sys.path[-1],
        sys.argv,
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_a_worker_has_the_settings_of_its_driver(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch.start_server()  # which goes on in another folder
    before = torch.get_num_threads()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THIS_TEST", str(threads))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, "last"])
    with LocalWorkers(2, threads) as workers:
        for _, found in workers.map(settings, range(2)):
            assert found == (str(tmp_path), str(threads), str(threads), threads, "last", sys.argv)
    assert torch.get_num_threads() == before


def draw(folder: Path, item: int) -> tuple[float, float]:
    meet(folder, item)
    return random.random(), float(np.random.random())


def test_workers_draw_different_numbers(workers: LocalWorkers, tmp_path: Path) -> None:
    (_, first), (_, second) = workers.map(partial(draw, tmp_path), range(2))
    assert first[0] != second[0]
    assert first[1] != second[1]


def collector(_: int) -> tuple[bool, int]:
    return gc.isenabled(), gc.get_freeze_count()


@linux
def test_a_worker_looks_for_garbage_but_not_in_what_was_imported(workers: LocalWorkers) -> None:
    for _, (enabled, spared) in workers.map(collector, range(2)):
        assert enabled
        assert spared > 100_000


@linux
def test_rows_take_memory_once_and_what_a_worker_writes_is_its_own(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    rows = np.zeros((1000, 100))

    def write(item: int) -> tuple[float, bool]:
        mapped = "memfd:dropkit" in Path("/proc/self/maps").read_text()
        rows[item] += 1
        meet(tmp_path, item)
        return float(rows.sum()), mapped

    assert [result for _, result in workers.map(write, range(2))] == [(100.0, True)] * 2
    assert rows.sum() == 0


class NeedsTwo(Exception):
    """Cannot be unpickled: pickle calls it with its message alone."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: StudyError("in one line"), StudyError, "in one line"),
        (lambda: NeedsTwo(1, 2), RuntimeError, "NeedsTwo: 1 and 2"),
    ],
)
def test_an_error_arrives_with_its_traceback(
    workers: LocalWorkers, make: Callable[[], Exception], kind: type[Exception], message: str
) -> None:
    def fail_here(item: int) -> None:
        raise make()

    with pytest.raises(kind, match=message) as caught:
        list(workers.map(fail_here, range(4)))
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert "in fail_here" in str(caught.value.__cause__)
    assert sorted(workers.map(abs, [-1, 2])) == [(-1, 1), (2, 2)]


def test_a_function_that_a_worker_cannot_read(workers: LocalWorkers) -> None:
    error = NeedsTwo(1, 2)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        list(workers.map(lambda _: error, range(2)))
    assert sorted(workers.map(abs, [-1, 2])) == [(-1, 1), (2, 2)]


def test_a_result_that_cannot_be_sent(workers: LocalWorkers) -> None:
    with pytest.raises(TypeError, match="pickle"):
        list(workers.map(lambda _: sys._getframe(), [1]))


# No guard of __main__, functions of the script itself, and what a user prints.
SCRIPT = """
import os, sys, time
from pathlib import Path
print("read once", flush=True)
from dropkit.study.workers import launch
from dropkit.study.workers.local import LocalWorkers
launch.FORKS = launch.FORKS and "spawn" not in sys.argv
base = 10
class Kept:
    def __init__(self, value): self.value = value
def work(item):
    print("printed by a worker")
    return Kept(item + base)
with LocalWorkers(2) as workers:
    print(sorted((item, kept.value) for item, kept in workers.map(work, range(3))))
"""


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_script_is_read_once_and_its_output_is_its_own(how: str, tmp_path: Path) -> None:
    with run_script(tmp_path, SCRIPT, how) as script:
        out, err = script.communicate(timeout=PATIENCE)
    assert (script.returncode, out) == (0, "read once\n[(0, 10), (1, 11), (2, 12)]\n")
    assert err.replace("\n", "") == 3 * "printed by a worker"

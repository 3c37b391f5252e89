"""Worker processes of this machine: what they are given, what they return, and how they end."""

import gc
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PATIENCE = 120.0  # seconds: for a machine that is busy with something else


def until(holds: Callable[[], Any]) -> Any:
    """Wait for a condition, which a test would wait for in vain only if it fails."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


@pytest.fixture
def workers() -> Iterator[LocalWorkers]:
    with LocalWorkers(2) as workers:
        yield workers


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


def kill_itself(folder: Path, deadly: set[int], times: int, item: int) -> int:
    """End the process for some items, this many times each; the items tell when they begin."""
    attempt = len(list(folder.glob(f"{item}-*")))
    beside = {file.name.partition("-")[0] for file in folder.glob("*-running")}
    (folder / f"{item}-{attempt}").write_text(" ".join(beside))
    if item in deadly and attempt < times:
        os.kill(os.getpid(), signal.SIGKILL)
    running = folder / f"{item}-running"
    running.touch()
    time.sleep(0.01)
    running.unlink()
    return -item


@pytest.mark.parametrize("times", [1, 2])
def test_a_killed_worker_costs_its_item_a_restart_after_the_others(
    times: int, workers: LocalWorkers, tmp_path: Path
) -> None:
    said: list[str] = []
    kill = partial(kill_itself, tmp_path, {2, 3}, times)
    done = list(workers.map(kill, range(9), said.append))
    assert sorted(done) == [(item, -item) for item in range(9)]
    assert sorted(item for item, _ in done[-2:]) == [2, 3]
    for item in range(9):
        attempts = sorted(tmp_path.glob(f"{item}-*"))
        assert len(attempts) == (times + 1 if item in (2, 3) else 1)
        if item in (2, 3):
            assert not any(file.read_text() for file in attempts[1:])  # nothing ran beside it
    assert len(said) == 2 * times
    for line in said:
        assert re.fullmatch(
            r"[23]: its worker was lost \(SIGKILL, perhaps for lack of memory\); "
            "restarting it after the others",
            line,
        )


def test_an_item_that_ends_three_workers_is_given_up_when_the_others_are_done(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    said: list[str] = []
    done: list[int] = []
    kill = partial(kill_itself, tmp_path, {2}, 9)
    lost = r"2: its worker was lost 3 times \(SIGKILL, perhaps for lack of memory\)"
    with pytest.raises(StudyError, match=f"^{lost}; the others are kept: run the same command"):
        done += (item for item, _ in workers.map(kill, range(9), said.append))
    assert sorted(done) == [0, 1, *range(3, 9)]
    assert len(said) == 3
    assert re.fullmatch(lost, said[-1])


@pytest.mark.parametrize(
    ("end", "cause"),
    [
        (lambda: os._exit(7), "exit code 7"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
    ],
)
def test_a_worker_that_ends_by_itself(
    workers: LocalWorkers, end: Callable[[], object], cause: str
) -> None:
    with pytest.raises(StudyError, match=rf"^0: its worker was lost 3 times \({cause}\)"):
        list(workers.map(lambda item: end() if item == 0 else item, range(3), lambda _: None))


def test_a_worker_that_is_killed_while_it_is_idle(workers: LocalWorkers) -> None:
    processes = {process for _, process in workers.map(lambda _: os.getpid(), range(6))}
    for process in processes:
        os.kill(process, signal.SIGKILL)
    said: list[str] = []
    assert sorted(workers.map(abs, range(4), said.append)) == [(i, i) for i in range(4)]


@linux
def test_ctrl_c_does_not_reach_the_workers(workers: LocalWorkers) -> None:
    processes = {process for _, process in workers.map(lambda _: os.getpid(), range(6))}
    assert launch._server is not None
    for process in (launch._server._process.pid, *processes):
        os.kill(process, signal.SIGINT)
    said: list[str] = []
    assert sorted(workers.map(abs, range(6), said.append)) == [(i, i) for i in range(6)]
    assert said == []
    (another,) = launch._server.fork(1)
    another.kill()
    another.close()


@linux
def test_the_process_that_forks_is_killed(workers: LocalWorkers, tmp_path: Path) -> None:
    def kill_the_parent_once(item: int) -> int:
        if item == 1 and not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(100 * PATIENCE)  # the kernel ends this process too
        return item

    said: list[str] = []
    done = sorted(workers.map(kill_the_parent_once, range(5), said.append))
    assert done == [(i, i) for i in range(5)]
    assert 1 <= len(said) <= 2


@linux
def test_the_process_that_forks_is_killed_unnoticed(
    workers: LocalWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        launch.ForkServer, "works", property(lambda server: server._process.returncode is None)
    )
    assert launch._server is not None
    launch._server._process.send_signal(signal.SIGKILL)
    until(lambda: b") Z " in Path(f"/proc/{launch._server._process.pid}/stat").read_bytes())
    assert sorted(workers.map(abs, range(3))) == [(i, i) for i in range(3)]


@linux
def test_nobody_goes_on_for_a_driver_that_does_not_wait(
    workers: LocalWorkers, tmp_path: Path
) -> None:
    def note_and_hang(item: int) -> None:
        if item:
            (tmp_path / str(os.getpid())).touch()
            time.sleep(100 * PATIENCE)

    results = workers.map(note_and_hang, range(2))
    assert next(results) == (0, None)
    (file,) = until(lambda: list(tmp_path.iterdir()))
    results.close()
    until(lambda: is_gone(int(file.name)))


def test_a_process_that_cannot_fork_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_CODE", "raise SystemExit(3)")
    monkeypatch.setattr(launch, "_server", None)
    with (
        LocalWorkers(2) as workers,
        pytest.raises(StudyError, match="cannot start worker processes; use --jobs 1"),
    ):
        list(workers.map(abs, range(2)))


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


@contextmanager
def run(folder: Path, code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a session of its own, of which nothing is left afterwards."""
    script = folder / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_a_script_is_read_once_and_its_output_is_its_own(how: str, tmp_path: Path) -> None:
    with run(tmp_path, SCRIPT, how) as script:
        out, err = script.communicate(timeout=PATIENCE)
    assert (script.returncode, out) == (0, "read once\n[(0, 10), (1, 11), (2, 12)]\n")
    assert err.replace("\n", "") == 3 * "printed by a worker"


def test_spawned_workers_are_replaced_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launch, "FORKS", False)
    said: list[str] = []
    with LocalWorkers(2) as workers:
        kill = partial(kill_itself, tmp_path, {1}, 1)
        assert sorted(workers.map(kill, range(3), said.append)) == [(0, 0), (1, -1), (2, -2)]
    assert len(said) == 1


HANGING = """
import ctypes, os, sys
from pathlib import Path
from dropkit.study.workers.local import LocalWorkers
def hang(item):
    Path(sys.argv[1], str(os.getpid())).touch()
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):  # the second waits for ever, and no thread of Python goes on meanwhile
        ctypes.PyDLL(None).pthread_mutex_lock(lock)
try:
    with LocalWorkers(2) as workers:
        list(workers.map(hang, range(2)))
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    sys.exit(130)
"""


@linux
@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_the_end_of_the_driver_is_the_end_of_its_workers(how: str, tmp_path: Path) -> None:
    folder = tmp_path / "processes"
    folder.mkdir()
    with run(tmp_path, HANGING, str(folder)) as driver:
        until(lambda: len(list(folder.iterdir())) == 2)
        server = int(Path(f"/proc/{driver.pid}/task/{driver.pid}/children").read_text())
        if how == "killed":
            driver.kill()
        else:
            os.killpg(driver.pid, signal.SIGINT)  # as a terminal does: to all of them
        _, err = driver.communicate(timeout=PATIENCE)
        assert (driver.returncode, err) == ((-9, "") if how == "killed" else (130, "stopped\n"))
        for process in (server, *(int(file.name) for file in folder.iterdir())):
            until(partial(is_gone, process))

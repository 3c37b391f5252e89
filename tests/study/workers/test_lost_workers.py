"""Workers that are killed or end by themselves, and drivers that end before them."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dropkit.study import StudyError
from dropkit.study.workers import launch
from dropkit.study.workers.local import LocalWorkers
from helpers.processes import PATIENCE, is_gone, run_script, until

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


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
    with pytest.raises(StudyError, match=f"^{lost}; the others are kept: repeat the command"):
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
    with run_script(tmp_path, HANGING, str(folder)) as driver:
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

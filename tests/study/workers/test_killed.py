"""A study whose processes are killed: a worker is replaced, a driver takes its workers along."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.waiting import HANGS, wait_until

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc"),
]


def children(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


def workers(driver: int) -> list[int]:
    (server,) = children(driver)
    return children(server)


def count(folder: Path) -> int:
    return len(list(folder.glob("run/runs/*.json")))


def start(folder: Path, seeds: int) -> subprocess.Popen[str]:
    """A study of many trainings, two at a time, in which some are done."""
    words = ["compare", "digits", "--methods", "none,dropout", "--seeds", str(seeds)]
    words += ["--epochs", "3"]
    command = [sys.executable, "-m", "dropkit", *words, "--jobs", "2", "--out", "run"]
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: process.poll() is not None or count(folder) >= 4)
    assert len(workers(process.pid)) == 2
    return process


def test_a_killed_worker_costs_what_was_running(tmp_path: Path) -> None:
    process = start(tmp_path, 30)
    os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=HANGS)
    assert process.returncode == 0
    about = [line for line in said.splitlines() if not line.startswith("[")]
    assert len(about) == 1
    assert "its worker was lost (SIGKILL, perhaps for lack of memory)" in about[0]
    assert count(tmp_path) == 60


def test_a_killed_driver_leaves_no_worker_behind(tmp_path: Path) -> None:
    process = start(tmp_path, 500)
    left = workers(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in left))

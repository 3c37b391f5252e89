"""A clock that jumps by days, forwards and back, while a study runs."""

import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dropkit.cli import run
from dropkit.study import Results
from helpers.fabricated import untimed
from helpers.tiny import write_table

WORDS = ["--methods", "none,dropout", "--seeds", "2", "--epochs", "1", "--tune", "2"]
WORDS += ["--hidden", "4"]
DAY = 86_400


def check_times(out: Path, at_most: float) -> None:
    """No time that a study took is negative, or as long as a jump."""
    results = Results.load(out)
    assert 0 <= float(results.timing["seconds"]) <= at_most
    for each in results.runs:
        assert 0 < each.timing.seconds <= at_most
        assert 0 <= each.timing.seconds_per_step <= at_most
        steps = (0.0, *each.timing.epochs)
        assert all(early <= late for early, late in itertools.pairwise(steps))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return ["compare", str(write_table(tmp_path_factory.mktemp("table") / "table.csv")), *WORDS]


@pytest.fixture(scope="module")
def still(study: list[str], tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What the study gives while the clock runs as it should."""
    out = tmp_path_factory.mktemp("still") / "run"
    assert run([*study, "--jobs", "1", "--out", str(out)]) == 0
    return untimed(Results.load(out))


def test_of_python(
    study: list[str], still: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = itertools.count()
    real, real_ns = time.time, time.time_ns

    def jump() -> int:
        return (-1) ** next(asked) * 3 * DAY

    monkeypatch.setattr(time, "time", lambda: real() + jump())
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + jump() * 10**9)
    started = time.monotonic()
    assert run([*study, "--jobs", "1", "--out", str(tmp_path / "jumping")]) == 0
    check_times(tmp_path / "jumping", time.monotonic() - started)
    assert untimed(Results.load(tmp_path / "jumping")) == still


JUMPING = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t now(struct timespec *t) {  /* five days ahead or behind, turn about */
    struct timespec steady;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &steady);
    syscall(SYS_clock_gettime, CLOCK_REALTIME, t);
    return t->tv_sec += (steady.tv_nsec / 50000000 % 2 ? 5 : -5) * 86400;
}
int clock_gettime(clockid_t clock, struct timespec *t) {
    return clock == CLOCK_REALTIME ? (now(t), 0) : syscall(SYS_clock_gettime, clock, t);
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    struct timespec exact;
    t->tv_sec = now(&exact);
    t->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec exact;
    return t ? (*t = now(&exact)) : now(&exact);
}
"""
DAYS_APART = """
import time
times = []
for _ in range(20):
    times.append(time.time())
    time.sleep(0.02)
print((max(times) - min(times)) // 86400)
"""


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose processes see a clock that jumps twenty times a second."""
    if sys.platform != "linux" or not (compiler := shutil.which("cc")):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=JUMPING, text=True, check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    seen = subprocess.check_output([sys.executable, "-c", DAYS_APART], env=environment)
    assert float(seen) in (9, 10)
    return environment


@pytest.mark.soak
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_of_the_system(
    jobs: str, study: list[str], still: Results, jumping: dict[str, str], tmp_path: Path
) -> None:
    words = [*study, "--jobs", jobs, "--out", "jumped"]
    started = time.monotonic()
    command = [sys.executable, "-m", "dropkit", *words]
    done = subprocess.run(command, cwd=tmp_path, env=jumping, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_times(tmp_path / "jumped", time.monotonic() - started)
    assert untimed(Results.load(tmp_path / "jumped")) == still

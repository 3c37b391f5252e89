"""``kill -9`` of a driver at fifty instants over its whole life, while it writes among them."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropkit.study import Results
from dropkit.study.store.folder import RunFolder
from helpers.fabricated import untimed

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc"),
]

STUDY = ["compare", "digits", "--methods", "none,dropout", "--tune", "2", "--seeds", "2"]
STUDY += ["--epochs", "1", "--hidden", "8"]
INSTANTS = 50
TRAININGS = 8  # two methods, each with two trials and two seeds


class Drivers:
    """Commands in processes of their own, one at a time; see ``warm_driver.py``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(
        self, out: Path, jobs: int = 1, *, seconds: float | None = None, files: int = 0
    ) -> tuple[int, float, list[int]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        words = [*STUDY, "--jobs", str(jobs), "--out", str(out)]
        print(json.dumps([words, seconds, files]), file=self.process.stdin, flush=True)
        code, lived, below = json.loads(self.process.stdout.readline())
        return code, lived, below


@pytest.fixture(scope="module")
def drive() -> Iterator[Drivers]:
    helper = Path(__file__).parents[1] / "helpers" / "warm_driver.py"
    with subprocess.Popen(
        [sys.executable, helper],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        yield Drivers(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(drive: Drivers, tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, float]:
    """What an undisturbed study gives, and the seconds that it takes the second time."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert drive(folder / "first")[0] == 0
    code, seconds, _ = drive(folder / "second")
    assert code == 0
    return untimed(Results.load(folder / "first")), seconds


def trainings(out: Path) -> dict[str, tuple[int, int]]:
    """Every finished training, and what changes if it is done again."""
    files = [file for name in ("runs", "trials") for file in (out / name).glob("*.json")]
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def gone(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while (there := Path(f"/proc/{process}").exists()) and time.monotonic() < end:
        time.sleep(0.02)
    return not there


def check_after_a_kill(drive: Drivers, out: Path, below: list[int], undisturbed: Results) -> int:
    """What must hold once a driver was killed; returns how many trainings were done by then."""
    assert all(gone(process, 60) for process in below)
    done = trainings(out)
    if (out / "study.toml").exists():
        folder = RunFolder.of(out)
        loaded = folder.load_all(folder._keys())
        assert not loaded.unreadable
        assert len(loaded.runs) == len(done)
    else:
        assert not done
    assert drive(out)[0] == 0
    after = trainings(out)
    assert done.items() <= after.items()
    assert len(after) == TRAININGS
    assert not list(out.rglob("*.part"))
    assert untimed(Results.load(out)) == undisturbed
    return len(done)


def kill(drive: Drivers, out: Path, seconds: float, jobs: int = 1, files: int = 0) -> list[int]:
    """Kill a study at an instant, earlier if it is done by then; the processes it left behind."""
    while True:
        code, _, below = drive(out, jobs, seconds=seconds, files=files)
        if code == -9:
            return below
        assert code == 0
        shutil.rmtree(out)
        seconds, files = 0.8 * seconds, max(0, files - 1)


def test_one_process(drive: Drivers, undisturbed: tuple[Results, float], tmp_path: Path) -> None:
    results, seconds = undisturbed
    draw = random.Random(0)
    done, writing = set(), 0
    for number in range(INSTANTS):
        out = tmp_path / str(number)
        below = kill(drive, out, seconds * (number + draw.random()) / INSTANTS)
        writing += any(out.rglob("*.part"))
        done.add(check_after_a_kill(drive, out, below, results))
    assert len(done) > TRAININGS // 2  # at many stages of the study
    assert writing > 0


def test_with_workers(drive: Drivers, undisturbed: tuple[Results, float], tmp_path: Path) -> None:
    results, seconds = undisturbed
    draw = random.Random(1)
    for number in range(INSTANTS // 5):
        out = tmp_path / str(number)
        if number < 3:  # while the workers start
            below = kill(drive, out, 2 * draw.random(), jobs=2)
        else:
            instant = seconds * draw.random() / TRAININGS
            below = kill(drive, out, instant, jobs=2, files=draw.randrange(1, TRAININGS))
        check_after_a_kill(drive, out, below, results)

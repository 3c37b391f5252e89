"""``kill -9`` of a driver at many instants of its life, while it writes among them.

Its trainings are made up where it trains in its own process: what is tried is the run folder.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropkit.study import Results
from dropkit.study.store.folder import RunFolder
from helpers.fabricated import untimed
from helpers.tiny import write_table
from helpers.waiting import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")

TESTS = Path(__file__).parents[1]
WORDS = ["--methods", "none,dropout", "--tune", "2", "--seeds", "2", "--epochs", "1"]
WORDS += ["--hidden", "4"]
TRAININGS = 12  # two methods with two seeds each, and two trials for every seed
INSTANTS = 50


class Drivers:
    """Commands in processes of their own, one at a time; see ``warm_driver.py``."""

    def __init__(self, process: subprocess.Popen[str], table: Path) -> None:
        self.process = process
        self.table = table

    def __call__(
        self,
        out: Path,
        jobs: int = 1,
        *,
        seconds: float | None = None,
        files: int = 0,
        made_up: bool = True,
    ) -> tuple[int, float, list[int]]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        words = ["compare", str(self.table), *WORDS, "--jobs", str(jobs), "--out", str(out)]
        line = json.dumps([words, seconds, files, made_up])
        print(line, file=self.process.stdin, flush=True)
        code, lived, below = json.loads(self.process.stdout.readline())
        return code, lived, below


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drivers]:
    with subprocess.Popen(
        [sys.executable, TESTS / "helpers" / "warm_driver.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
    ) as process:
        yield Drivers(process, write_table(tmp_path_factory.mktemp("table") / "table.csv"))
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


@pytest.fixture(scope="module")
def trained(drive: Drivers, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What an undisturbed study gives whose trainings are real."""
    out = tmp_path_factory.mktemp("trained") / "run"
    assert drive(out, made_up=False)[0] == 0
    return untimed(Results.load(out))


def trainings(out: Path) -> dict[str, tuple[int, int]]:
    """Every finished training, and what changes if it is done again."""
    files = [file for name in ("runs", "trials") for file in (out / name).glob("*.json")]
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def check_after_a_kill(
    drive: Drivers, out: Path, below: list[int], undisturbed: Results, made_up: bool = True
) -> int:
    """What must hold once a driver was killed; returns how many trainings were done by then."""
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in below))
    done = trainings(out)
    if (out / "study.toml").exists():
        folder = RunFolder.of(out)
        loaded = folder.load_all(folder._keys())
        assert not loaded.unreadable
        assert len(loaded.runs) == len(done)
    else:
        assert not done
    assert drive(out, made_up=made_up)[0] == 0
    after = trainings(out)
    assert done.items() <= after.items()
    assert len(after) == TRAININGS
    assert not list(out.rglob("*.part"))
    assert untimed(Results.load(out)) == undisturbed
    return len(done)


def kill(drive: Drivers, out: Path, seconds: float, files: int = 0) -> list[int]:
    """Kill a study at an instant, earlier if it is done by then; the processes it left behind."""
    while True:
        code, _, below = drive(out, seconds=seconds, files=files)
        if code == -9:
            return below
        assert code == 0
        shutil.rmtree(out)
        seconds *= 0.8


@pytest.mark.parametrize("files", [0, 1, 3, 5, TRAININGS])
def test_at_every_stage(
    files: int, drive: Drivers, undisturbed: tuple[Results, float], tmp_path: Path
) -> None:
    """Before the first training, in the search, after it, between and after the trainings."""
    out = tmp_path / "run"
    below = kill(drive, out, 0.01 if files else undisturbed[1] / 4, files)
    assert not below
    assert check_after_a_kill(drive, out, below, undisturbed[0]) >= files


@pytest.mark.soak
def test_at_many_instants(
    drive: Drivers, undisturbed: tuple[Results, float], tmp_path: Path
) -> None:
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


@pytest.mark.parametrize(
    ("seconds", "files"),
    [
        (0.05, 1),
        *(
            pytest.param(*instant, marks=pytest.mark.soak)
            for instant in ((0.2, 0), (1.0, 0), (2.0, 0), (0.05, 3), (0.05, 5))
        ),
    ],
)
def test_with_workers(
    seconds: float, files: int, drive: Drivers, trained: Results, tmp_path: Path
) -> None:
    """While the workers start, and while they train."""
    out = tmp_path / "run"
    code, _, below = drive(out, 2, seconds=seconds, files=files, made_up=False)
    assert code == -9
    assert len(below) >= 2 or not files
    check_after_a_kill(drive, out, below, trained, made_up=False)

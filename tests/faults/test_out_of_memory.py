"""A process that is allowed less memory than one of its trainings takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dropkit.cli import run
from helpers.little_memory import little_memory, needs_limits
from helpers.tiny import write_table

pytestmark = needs_limits

MORE = 8 * 2**30  # what the process may take; a training takes twice as much

LIMITED = f"""
import sys
from dropkit.cli import run
from dropkit.study.training import work
from helpers.little_memory import little_memory

with little_memory({MORE}):
    sys.exit(run())
"""

# Seed 1 needs 16 GiB: in the function, for weights, or in a step, for activations.
MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bad = torch.initial_seed() == 1
        if {in_function} and self.bad:
            self.wide = nn.Linear(64, 2**26)
        self.out = nn.Linear(2, 2)

    def forward(self, x):
        if self.bad:
            x = x + x.new_zeros(2**32)[:2]
        return self.out(x)
"""
IN_FUNCTION = (True, "the model function ran out of memory; use a smaller model")
IN_STEP = (False, "ran out of memory; use a smaller model or batch")


def write_study(folder: Path, in_function: bool, jobs: int) -> list[str]:
    (folder / "net.py").write_text(MODEL.format(in_function=in_function))
    write_table(folder / "table.csv")
    words = ["compare", "table.csv", "--methods", "none", "--seeds", "3", "--epochs", "1"]
    return [*words, "--model", "net.py:Net", "--jobs", str(jobs), "--out", "run"]


def check(folder: Path, code: int, err: str, reason: str) -> None:
    assert code == 2, err
    *progress, last = err.splitlines()
    assert f"none, seed 1: {reason}" in " ".join(progress)
    assert last.startswith(f"dropkit: 1 of 3 trainings failed (none, seed 1: {reason}")
    assert last.endswith("the others are kept: repeat the command to resume")
    assert len(list(folder.glob("run/runs/*.json"))) == 2


@pytest.mark.parametrize(("in_function", "reason"), [IN_FUNCTION, IN_STEP])
def test_one_training_needs_too_much(
    in_function: bool,
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = write_study(tmp_path, in_function, jobs=1)
    with little_memory(MORE):
        code = run(words)
    check(tmp_path, code, capsys.readouterr().err, reason)


@pytest.mark.soak
@pytest.mark.parametrize(("in_function", "reason"), [IN_FUNCTION, IN_STEP])
def test_in_a_process_of_its_own(in_function: bool, reason: str, tmp_path: Path) -> None:
    words = write_study(tmp_path, in_function, jobs=2)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    check(tmp_path, done.returncode, done.stderr, reason)

"""A process that is allowed less memory than one of its trainings takes."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(sys.platform != "linux", reason="limits the address space"),
]

LIMITED = """
import resource, sys
from dropkit.cli import run

resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, 16 * 2**30))
sys.exit(run())
"""

# Seed 1 needs 16 GB: in the function, for weights, or in a step, for activations.
MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bad = torch.initial_seed() == 1
        if {in_function} and self.bad:
            self.wide = nn.Linear(64, 2**26)
        self.flat, self.out = nn.Flatten(), nn.Linear(64, 10)

    def forward(self, x):
        x = self.flat(x)
        if self.bad:
            x = x + x.new_zeros(2**32)[:64]
        return self.out(x)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("in_function", "reason"),
    [
        (True, "the model function ran out of memory; use a smaller model"),
        (False, "ran out of memory; use a smaller model or batch"),
    ],
)
def test_one_training_needs_too_much(
    in_function: bool, reason: str, jobs: str, tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(MODEL.format(in_function=in_function))
    words = ["compare", "digits", "--methods", "none", "--seeds", "3", "--epochs", "1"]
    words += ["--model", "net.py:Net", "--jobs", jobs, "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    *progress, last = done.stderr.splitlines()
    assert f"none, seed 1: {reason}" in " ".join(progress)
    assert last.startswith(f"dropkit: 1 of 3 trainings failed (none, seed 1: {reason}")
    assert last.endswith("the others are kept: run the same command again to go on")
    assert len(list(tmp_path.glob("run/runs/*.json"))) == 2

"""Trainings whose outputs become NaN: marked, reported, and no hindrance to the others."""

from pathlib import Path

import pytest

from dropkit.cli import run
from dropkit.study import Results
from helpers.tiny import write_table

WORDS = ["--methods", "none,dropout", "--seeds", "3", "--epochs", "2", "--batch-size", "4"]

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat, self.hidden = nn.Flatten(), nn.Linear(2, 8)
        self.relu, self.out = nn.ReLU(), nn.Linear(8, 2)
        self.steps = 0
        # The first initial weight tells the seeds apart; seed 1 is the one that fails.
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.bad = torch.equal(nn.Linear(2, 8).weight, self.hidden.weight)

    def forward(self, x):
        self.steps += self.training
        out = self.out(self.relu(self.hidden(self.flat(x))))
        return out * float("nan") if {when} else out
"""


@pytest.mark.parametrize(
    ("when", "bad", "jobs"),
    [
        ("self.bad", {1}, "1"),
        ("self.bad and self.steps > 12", {1}, "1"),  # in the second epoch
        ("self.bad and self.steps > 12", {1}, "2"),
        ("self.steps > 12", {0, 1, 2}, "1"),
        ("self.bad and not self.training", {1}, "1"),
    ],
)
def test_some_that_diverge(
    when: str, bad: set[int], jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "net.py"
    model.write_text(MODEL.format(when=when))
    table = str(write_table(tmp_path / "table.csv"))
    words = [
        "compare",
        table,
        *WORDS,
        "--jobs",
        jobs,
        "--model",
        f"{model}:Net",
        "--out",
        str(tmp_path / "run"),
    ]
    assert run(words) == 0
    out, err = capsys.readouterr()
    results = Results.load(tmp_path / "run")
    assert {(r.method, r.seed) for r in results.runs if r.status == "diverged"} == {
        (method, seed) for method in ("none", "dropout") for seed in bad
    }
    assert all((r.test is None) == (r.seed in bad) for r in results.runs)
    for seed in bad:
        assert f"none, seed {seed}: diverged" in err
    said = " ".join(out.split())
    assert f"diverged in {len(bad)} of 3 runs: its loss became infinite or NaN" in said
    page = " ".join((tmp_path / "run/report.html").read_text().split())
    assert f"diverged in {len(bad)} of 3" in page

    assert run(words) == 0  # what diverged is done: it is not tried again
    assert "6 of 6 runs are already done" in capsys.readouterr().err

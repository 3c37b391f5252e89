"""Claim: a study of a user's own training function adds less than 2 % to trainings of 10 s.

The function is a plain loop with AdamW, a validation pass and a log line for every epoch, and every
call that a run of a study has: layers, parameter groups, penalty, constraint. Its rival is the same
loop without dropkit, of the same weights, batches and number of updates. The two take turns in one
process, on one thread; a bare training lasts about ``--seconds``. The ratio is study / bare, in
processor time, which other work on the machine does not count in, with all that a worker does for a
training: seeds, digests of weights and first batch, scoring, and keeping the run.

    python benchmarks/training_overhead.py [--pairs 5] [--seconds 10] [--json FILE]
"""

import argparse
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from side_by_side import report
from torch import nn

from dropkit import study
from dropkit.param_groups import decay_groups
from dropkit.study.methods.parsing import parse
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.function import FunctionWork
from dropkit.study.training.work import Job
from dropkit.study.training_study import TrainingStudy

ROWS, BATCH = 2048, 64


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
                         nn.Linear(512, 10))  # fmt: skip


def rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 784, generator=generator)
    return x, x[:, :10].argmax(1)


def bare(epochs: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What a user would write by hand; returns the outputs of all rows."""
    model = build()
    optimizer = torch.optim.AdamW(decay_groups(model, 0.01), lr=1e-4)
    for _ in range(epochs):
        model.train()
        for chosen in torch.randperm(ROWS).split(BATCH):
            loss = F.cross_entropy(model(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            F.cross_entropy(model(x), y).item()
    with torch.no_grad():
        return model(x)


def watched(run: study.TrainingRun, epochs: int, x: torch.Tensor, y: torch.Tensor) -> study.Outcome:
    """The same in a run of a study."""
    model = run.regularize(build())
    optimizer = torch.optim.AdamW(run.parameter_groups(model, weight_decay=0.01), lr=1e-4)
    for _ in run.epochs(epochs):
        model.train()
        for chosen in torch.randperm(ROWS).split(BATCH):
            loss = F.cross_entropy(model(x[chosen]), y[chosen]) + run.penalty(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.after_step(model)
        model.eval()
        with torch.no_grad():
            run.log(train_loss=loss, val_loss=F.cross_entropy(model(x), y))
    with torch.no_grad():
        return study.Outcome(model(x), y)


def measure(pairs: int, seconds: float) -> dict[str, object]:
    """Time both, either one first in turn, after a warm-up that sets the number of epochs."""
    x, y = rows()
    start = time.process_time()
    bare(2, x, y)
    start, warm = time.process_time(), time.process_time() - start
    bare(2, x, y)
    epochs = max(1, round(2 * seconds / min(warm, time.process_time() - start)))
    settings = TrainingStudy(train="watched", methods=("as-is",), seeds=pairs)  # type: ignore[arg-type]
    work = FunctionWork(settings, lambda run: watched(run, epochs, x, y))
    taken: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run", settings, "")
        with folder.opened():
            for seed in range(pairs):
                turns = [
                    partial(bare, epochs, x, y),
                    lambda seed=seed: folder.save(work(Job(parse("as-is"), seed, {}))),
                ]
                times = {}
                for turn in turns if seed % 2 else turns[::-1]:
                    start = time.process_time()
                    turn()
                    times[turn] = time.process_time() - start
                taken.append((times[turns[0]], times[turns[1]]))
    ratios = [ours / alone for alone, ours in taken]
    return {
        "epochs": epochs,
        "bare loop, s": statistics.median(alone for alone, _ in taken),
        "study, s": statistics.median(ours for _, ours in taken),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "asked": 1.02,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    options = parser.parse_args()
    torch.set_num_threads(1)
    row = measure(options.pairs, options.seconds)
    report(__doc__, [row], options.json)


if __name__ == "__main__":
    main()

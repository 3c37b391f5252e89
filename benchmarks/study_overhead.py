"""Claim: a training of a study costs at most 5 % more than the same training by a bare loop.

Both train the same net with the same rows, batches, optimizer, decay and a validation pass per
epoch, in turn, in one process: 64-512-512-10 on scikit-learn's digits with batches of 128, as
`dropkit compare digits` does, for its 100 epochs, and 784-1024-1024-10 on MNIST for the 20 epochs
of `dropkit compare mnist`. The ratio is study / bare loop; the study's time includes scoring the
training rows at the end, which the bare loop does not do.

    python benchmarks/study_overhead.py --data-dir DIR [--pairs 7] [--threads 1] [--json FILE]
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from side_by_side import report

from dropkit.study import Study
from dropkit.study.data import load
from dropkit.study.training.batches import Batches
from dropkit.study.training.fit import EVAL_BATCH
from dropkit.study.training.folds import Fold, make_fold
from dropkit.study.training.models import build, factory
from dropkit.study.training.once import train_once

CASES = {
    "digits, 512-512": {"data": "digits", "hidden": (512, 512), "epochs": 100},
    "MNIST, 1024-1024": {"data": "mnist", "hidden": (1024, 1024), "epochs": 20},
}


def bare_loop(study: Study, fold: Fold, seed: int) -> float:
    """What a user would write by hand; returns the final validation loss."""
    assert study.epochs is not None
    model = build(factory(study.model, study.hidden), fold.x_train[:2], fold.outputs, seed=seed)
    batches = Batches(fold.x_train, fold.y_train, study.batch_size, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=study.learning_rate, momentum=0.9)
    steps = len(batches) * study.epochs
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: max(0.0, 1 - t / steps))
    loss = torch.zeros(())
    for _ in range(study.epochs):
        model.train()
        for x, y, _ in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            decay.step()
        model.eval()
        with torch.no_grad():
            outputs = torch.cat([model(x) for x in fold.x_val.split(EVAL_BATCH)])
            loss = F.cross_entropy(outputs.double(), fold.y_val)
    return loss.item()


def ratio(study: Study, pairs: int) -> dict[str, object]:
    """Time both in turn, after an epoch of each to warm up."""
    fold = make_fold(load(study.data, data_dir=study.data_dir), study, seed=0)
    make = factory(study.model, study.hidden)
    taken: list[tuple[float, float]] = []
    short = replace(study, epochs=1)
    bare_loop(short, fold, seed=0)
    train_once(short, make, fold, study.methods[0], 0, test=False)
    for pair in range(pairs):
        start = time.perf_counter()
        bare_loss = bare_loop(study, fold, seed=pair)
        middle = time.perf_counter()
        run = train_once(study, make, fold, study.methods[0], pair, test=False)
        end = time.perf_counter()
        assert run.val is not None
        assert abs(run.val.loss - bare_loss) < 1e-9, "the two did not do the same training"
        taken.append((middle - start, end - middle))
    ratios = [ours / bare for bare, ours in taken]
    return {
        "bare loop, s": statistics.median(bare for bare, _ in taken),
        "study, s": statistics.median(ours for _, ours in taken),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "asked": 1.05,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with mnist/")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name, settings in CASES.items():
        study = Study(
            methods=("none",), data_dir=options.data_dir, threads=options.threads, **settings
        )
        rows.append({"training": name} | ratio(study, options.pairs))
    report(__doc__, rows, options.json)


if __name__ == "__main__":
    main()

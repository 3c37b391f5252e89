"""Claim: the study harness costs at most 15 % over the same training as a bare PyTorch loop.

Both train 784-1024-1024-10 on the real MNIST files with the same rows, batches, optimizer, decay
and a validation pass per epoch, alternately, in one process; the ratio is harness / bare loop.

    python benchmarks/study_overhead.py --data-dir DIR [--epochs 2] [--pairs 5] [--threads 2]
"""

import argparse
import platform
import statistics
import time

import torch
import torch.nn.functional as F

from dropkit.study import Study
from dropkit.study.data import load
from dropkit.study.training.folds import Fold, make_fold
from dropkit.study.training.models import build, factory
from dropkit.study.training.train import EVAL_BATCH, train
from dropkit.study.training.training import Batches


def bare_loop(study: Study, fold: Fold, seed: int) -> float:
    """What a user would write by hand; returns the final validation loss."""
    assert study.epochs is not None
    model = build(factory(study.model, study.hidden), fold.inputs, fold.outputs, seed=seed)
    batches = Batches(fold.x_train, fold.y_train, study.batch_size, seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=study.lr, momentum=0.9)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with mnist/")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    study = Study(
        data="mnist",
        data_dir=options.data_dir,
        hidden=(1024, 1024),
        epochs=options.epochs,
        threads=options.threads,
    )
    fold = make_fold(load("mnist", data_dir=options.data_dir), study, seed=0)
    make = factory(study.model, study.hidden)
    ratios, bare_seconds, harness_seconds = [], [], []
    for pair in range(options.pairs + 1):
        start = time.perf_counter()
        bare_loss = bare_loop(study, fold, seed=pair)
        middle = time.perf_counter()
        run = train(study, make, fold, "none", pair, test=False)
        end = time.perf_counter()
        assert run.val is not None
        assert abs(run.val.loss - bare_loss) < 1e-9, "the two did not do the same training"
        if pair:  # the first pair warms up
            bare_seconds.append(middle - start)
            harness_seconds.append(end - middle)
            ratios.append(harness_seconds[-1] / bare_seconds[-1])
            print(
                f"pair {pair}: bare {bare_seconds[-1]:.2f} s, harness {harness_seconds[-1]:.2f} s"
            )
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, {options.threads} threads"
    )
    print(
        f"harness / bare loop: median {statistics.median(ratios):.3f} "
        f"(min {min(ratios):.3f}, max {max(ratios):.3f}); at most 1.15 is claimed"
    )


if __name__ == "__main__":
    main()

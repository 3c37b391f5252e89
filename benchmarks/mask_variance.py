"""Claim: the noise of the gradient tells which numbers of groups train, and what they are worth.

MNIST, 784-1024-1024-10, rates 0.5 and 0.2 at the input, one thread. First the noise that masks and
rows cause, before training and after 200 and 1,500 steps of ordinary dropout at batch 128, and the
cost that follows, as a multiple of ordinary dropout's. Then trainings at batch 512 with rates that
fall linearly to 0, by ordinary dropout, fixed numbers of groups and a choice every third epoch:
validation error at the end, seconds of training (choices included), and seconds to the highest of
the final errors.

    python benchmarks/mask_variance.py [--epochs N] [--seeds N] [--lr RATE] [--json FILE]
"""

import argparse
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import measured_on, mlp
from torch import Tensor, nn

from dropkit.noise import Dropout
from dropkit.study.data import load
from dropkit.thinned import choose_groups, thin

Batch = tuple[Tensor, Tensor]


def loss(model: nn.Module, batch: Batch) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


def mnist() -> tuple[Batch, Batch]:
    """Return 50,000 images to train on and 10,000 to validate on."""
    data = load("mnist")
    x = torch.tensor(data.X).float().flatten(1)
    x, y = x / x.max(), torch.tensor(data.y).long()
    return (x[:50000], y[:50000]), (x[50000:], y[50000:])


def mini_batches(images: Batch, size: int, seed: int) -> list[Batch]:
    x, y = images
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return [(x[some], y[some]) for some in order[: len(x) // size * size].split(size)]


def error(model: nn.Module, images: Batch) -> float:
    """Return the percentage that is not recognized."""
    model.eval()
    with torch.no_grad():
        wrong = (model(images[0]).argmax(1) != images[1]).float().mean()
    model.train()
    return 100 * wrong.item()


def falling_step(
    model: nn.Module,
    drops: list[Dropout],
    optimizer: torch.optim.Optimizer,
    lr: float,
    batch: Batch,
    left: float,
) -> None:
    """Take a step at the rates and the learning rate of which a share is left."""
    for drop, rate in zip(drops, (0.2, 0.5, 0.5), strict=True):
        drop.p = rate * left
    optimizer.param_groups[0]["lr"] = lr * left
    optimizer.zero_grad()
    loss(model, batch).backward()
    optimizer.step()


def noise(images: Batch) -> list[dict[str, Any]]:
    """Return a row for each instant, size of a mini-batch and number of groups."""
    torch.manual_seed(0)
    model, rows, steps = mlp(Dropout), [], 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    small = [batch for epoch in range(4) for batch in mini_batches(images, 128, epoch)]
    for until in (0, 200, 1500):
        for batch in small[steps:until]:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()
        steps = until
        for size in (128, 512):
            some = mini_batches(images, size, 100 + until)[:16]
            chosen, found = choose_groups(model, some, loss)
            for groups, measured in found.items():
                rows.append({
                    "steps": steps,
                    "batch": size,
                    "groups": groups,
                    "masks": measured.masks,
                    "rows": measured.rows,
                    "signal": measured.signal,
                    "cost": measured.cost / found[0].cost,
                    "chosen": groups == chosen,
                })  # fmt: skip
                print("  ".join(f"{value:>9.4g}" for value in rows[-1].values()))
    return rows


def train(
    groups: int | None, train_on: Batch, validate_on: Batch, epochs: int, lr: float, seed: int
) -> dict[str, Any]:
    """Train with so many groups, 0 for ordinary dropout, None for a choice every third epoch."""
    torch.manual_seed(seed)
    model, plan, chosen = mlp(Dropout), None, Counter[int]()
    drops = [layer for layer in model if isinstance(layer, Dropout)]
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    if groups:
        model, plan = thin(model, groups, copy=False)
    errors, seconds, spent = [], [], 0.0
    step, steps = 0, epochs * (len(train_on[0]) // 512)
    for epoch in range(epochs):
        batches = mini_batches(train_on, 512, 1000 * seed + epoch)
        start = time.perf_counter()
        if groups is None and epoch % 3 == 0:
            if plan is not None:
                plan.undo(model, copy=False)
                plan = None
            best, _ = choose_groups(model, batches[:4], loss, candidates=(1, 2, 4))
            chosen[best] += 1
            if best:
                model, plan = thin(model, best, copy=False)
        for batch in batches:
            falling_step(model, drops, optimizer, lr, batch, left=1 - step / steps)
            step += 1
        spent += time.perf_counter() - start
        errors.append(error(model, validate_on))
        seconds.append(spent)
    return {"seed": seed, "errors": errors, "seconds": seconds, "chosen": dict(chosen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train_on, validate_on = mnist()
    print("    steps      batch     groups      masks       rows     signal       cost     chosen")
    rows = noise(train_on)
    methods: dict[str, int | None] = {
        "dropout": 0, "1 group": 1, "2 groups": 2, "4 groups": 4, "chosen": None,
    }  # fmt: skip
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in methods}
    for seed in range(options.seeds):
        for name, groups in methods.items():
            run = train(groups, train_on, validate_on, options.epochs, options.lr, seed)
            runs[name].append(run)
            print(
                f"{name}: {run['errors'][-1]:.2f} % in {run['seconds'][-1]:.1f} s {run['chosen']}"
            )
    # The target that all reach: a diverged training, above 5 %, is none.
    target = max(r["errors"][-1] for some in runs.values() for r in some if r["errors"][-1] < 5)
    table = []
    for name, some in runs.items():
        first = [
            next((s for e, s in zip(r["errors"], r["seconds"], strict=True) if e <= target), None)
            for r in some
        ]
        table.append({
            "method": name,
            "error": statistics.fmean(r["errors"][-1] for r in some),
            "seconds": statistics.fmean(r["seconds"][-1] for r in some),
            "seconds to target": None if None in first else statistics.fmean(map(float, first)),
        })  # fmt: skip
        print(table[-1])
    if options.json is not None:
        record = {"claim": __doc__, "measured_on": measured_on(), "target": target}
        record |= {"noise": rows, "trained": table, "trainings": runs}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

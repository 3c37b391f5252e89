"""Claim: a dropout net is as good as the plain net ever is in at most the plain net's time.

A fully connected net on a data set (by default MNIST, 784-1024-1024-2048-10): the plain net,
torch's dropout and ours at a constant rate, annealed and thinned dropout and fast dropout. Every
method's learning rate and rates are tuned with the same number of trials on validation images.
Updates and seconds until a net is as good on validation images as the plain net at its best
(`dropkit.study.analysis.target`), as multiples of the plain net's own, and the final test error;
with --twice also that of torch's dropout with what tuning found for it and as many epochs as take
twice the time of the dropout net that got there with most seeds, the quickest of several, by the
seconds of an epoch in this run, rounded up, or with EPOCHS. The trainings are kept in FOLDER, and
the same command goes on where it was stopped.

    python benchmarks/time_to_target.py FOLDER [--data NAME] [--hidden LIST] [--methods LIST]
                                        [--epochs N] [--batch N] [--lr RATE] [--tune N] [--seeds N]
                                        [--twice [EPOCHS]] [--json FILE]
"""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from side_by_side import measured_on

from dropkit.study import Results, compare
from dropkit.study.analysis.stats import Estimate, t_interval
from dropkit.study.analysis.summary import MethodSummary
from dropkit.study.methods.parsing import parse
from dropkit.study.report import show

METHODS = "none,torch-dropout,dropout,annealed-dropout,thinned-dropout(groups=4),fast-dropout"


def seconds(results: Results, method: str) -> float:
    """Return what a training took, evaluation left out, the mean of the seeds."""
    return fmean(run.timing.epochs[-1] for run in results.of(method))


def paired(theirs: Results, ours: Results, method: str) -> Estimate:
    """Return the difference of the test errors, theirs minus ours, in points."""
    pairs = zip(theirs.runs, ours.of(method), strict=True)
    return t_interval([100 * (a.test.value - b.test.value) for a, b in pairs])


def as_row(summary: MethodSummary) -> dict[str, Any]:
    """Return when a method reached the target, its price per step, and its test error."""
    values = {"steps": summary.target.updates, "seconds": summary.target.seconds}
    values |= {"step": summary.step_ratio, "error": summary.value}
    return {
        "method": summary.method,
        "seeds": summary.target.seeds,
        "reached": summary.target.reached,
        "par": summary.target.baseline_reached,
        **{name: None if value is None else asdict(value) for name, value in values.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--data-dir", help="the folder with the data sets")
    parser.add_argument("--hidden", default="1024,1024,2048")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--tune", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--twice", type=int, nargs="?", const=0, help="torch's with more time too")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    common: dict[str, Any] = {
        "data_dir": chosen.data_dir,
        "hidden": tuple(int(width) for width in chosen.hidden.split(",")),
        "batch_size": chosen.batch,
        "lr": chosen.lr,
        "tune": chosen.tune,
        "seeds": chosen.seeds,
        "val_fraction": 1 / 6,
        "jobs": chosen.jobs,
        "progress": True,
    }
    results = compare(
        chosen.data,
        methods=chosen.methods,
        epochs=chosen.epochs,
        out=chosen.folder / "budget",
        **common,
    )
    show(results.analysis)
    record = {
        "claim": __doc__,
        "measured_on": measured_on(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
        "study": results.study,
        "tuned": results.tuned,
        "rows": [as_row(summary) for summary in results.analysis.summaries],
    }
    if chosen.twice is not None:
        (theirs,) = (method for method in results.methods if method.startswith("torch-dropout"))
        ours = min(
            (s for s in results.analysis.summaries if s.method not in ("none", theirs)),
            key=lambda s: (
                -s.target.reached,
                s.target.seconds.mean if s.target.seconds else math.inf,
            ),
        ).method
        epochs = chosen.twice or math.ceil(
            2 * seconds(results, ours) / (seconds(results, theirs) / chosen.epochs)
        )
        found = parse(theirs).arguments() | results.tuned[theirs][0]
        rates = ",".join(f"{k.partition('.')[2]}={v!r}" for k, v in found.items() if k != "lr")
        longer = compare(
            chosen.data,
            methods=[f"torch-dropout({rates})"],
            epochs=epochs,
            out=chosen.folder / f"{epochs} epochs",
            **common | {"tune": 0, "lr": found["lr"]},
        )
        print(f"\ntorch-dropout with {epochs} epochs, against {ours}:")
        show(longer.analysis)
        record["more time"] = {
            "of": ours,
            "epochs": epochs,
            "rows": [as_row(summary) for summary in longer.analysis.summaries],
            "minus ours, points": asdict(paired(longer, results, ours)),
        }
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

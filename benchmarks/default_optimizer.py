"""Claim: no optimizer is better than SGD at a learning rate of 0.05 both with and without dropout.

Every optimizer trains `dropkit compare`'s default network on eight data sets (tables,
images, speech; one of them a regression), with and without dropout, over the default number of
epochs. The measure is the validation error after the last update: the test rows have no say in a
default. Each error is divided by the lowest of its data set and kind of network; an optimizer's
score is the geometric mean of these ratios, 1 if it were the best everywhere.

    python benchmarks/default_optimizer.py DATA_DIR [--seeds 2] [--json FILE]
"""

import argparse
import json
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import measured_on
from sklearn.datasets import load_diabetes

from dropkit.study import Run, compare
from dropkit.study.data import load

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd, lr 0.05": {},
    "sgd, lr 0.02": {"lr": 0.02},
    "sgd, lr 0.1": {"lr": 0.1},
    "sgd with Nesterov momentum, lr 0.05": {"optimizer": "sgd(nesterov=True)"},
    "adamw, lr 0.001": {"optimizer": "adamw"},
    "adamw, lr 0.0003": {"optimizer": "adamw", "lr": 3e-4},
    "adam, lr 0.001": {"optimizer": "adam"},
}
METHODS = ("none", "dropout")
ROWS = 5000  # of the larger sets


def data_sets(folder: Path, short: Path) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """What `compare` is called with for every data set."""
    found: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "digits": (("digits",), {}),
        "diabetes": (load_diabetes(return_X_y=True), {}),
    }
    for name in ("DNA", "LetterRecognition", "adult-train"):
        lines = (folder / "tabular" / f"{name}.csv").read_text().splitlines()
        rows = np.random.default_rng(0).permutation(len(lines) - 1)[:ROWS] + 1
        file = short / f"{name}.csv"
        file.write_text("\n".join([lines[0], *(lines[i] for i in sorted(rows))]) + "\n")
        found[name] = ((file,), {"target": "lettr"} if name == "LetterRecognition" else {})
    for name in ("mnist", "fashion-mnist", "fsdd"):
        data = load(name, data_dir=folder)
        rows = np.random.default_rng(0).permutation(len(data.y))[:ROWS]
        found[name] = ((data.X[rows], data.y[rows]), {})
    return found


def mean_values(runs: Iterable[Run], part: str) -> dict[str, float]:
    """Each method's mean value on the ``val`` or ``test`` rows, without diverged runs."""
    values: dict[str, list[float]] = {}
    for run in runs:
        scores = getattr(run, part)
        values.setdefault(run.method, []).extend([] if scores is None else [scores.value])
    return {method: round(float(np.mean(found)), 5) for method, found in values.items()}


def mean_ratio(values: Iterable[float], lowest: Iterable[float]) -> float:
    """The geometric mean of the values, each divided by the lowest of its data set."""
    logs = [math.log(value / low) for value, low in zip(values, lowest, strict=True)]
    return round(math.exp(np.mean(logs)), 3)


def read_arguments(description: str | None) -> argparse.Namespace:
    """The arguments of a benchmark on these data sets."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = read_arguments(__doc__)
    errors: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as place:
        for name, (given, more) in data_sets(arguments.data_dir, Path(place)).items():
            errors[name] = {}
            for number, (optimizer, settings) in enumerate(OPTIMIZERS.items()):
                out = Path(place) / f"{name}-{number}"
                study = {"methods": METHODS, "seeds": arguments.seeds, "jobs": 1, "out": out}
                runs = compare(*given, **study, **settings, **more).runs
                errors[name][optimizer] = mean_values(runs, "val")
                print(name, optimizer, errors[name][optimizer], flush=True)
    lowest = {
        method: [min(each[method] for each in found.values()) for found in errors.values()]
        for method in METHODS
    }
    scores = {
        optimizer: {
            method: mean_ratio([found[optimizer][method] for found in errors.values()], low)
            for method, low in lowest.items()
        }
        for optimizer in OPTIMIZERS
    }
    result = {"validation error": errors, "score": scores, "measured on": measured_on()}
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

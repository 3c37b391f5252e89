"""Tables of finished runs, as people keep them and as experiment trackers export them."""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rows = list[dict[str, Any]]


def draw_runs(
    rng: np.random.Generator,
    methods: int = 2,
    seeds: int = 5,
    *,
    gains: Sequence[float] = (),
    datasets: int = 1,
    spread: float = 0.01,
    shared: float = 0.02,
) -> Rows:
    """Accuracies with a part that all methods of a seed share, and one of each run's own."""
    rows = []
    for dataset in range(datasets):
        level = 0.7 + 0.01 * dataset
        luck = shared * rng.normal(size=seeds)
        for method in range(methods):
            gain = gains[method] if gains else 0.0
            for seed in range(seeds):
                score = level + gain + luck[seed] + spread * rng.normal()
                row = {"method": f"m{method}" if method else "none", "seed": seed}
                row |= {"dataset": f"set{dataset}"} if datasets > 1 else {}
                rows.append(row | {"test_acc": float(score)})
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], delimiter: str = ",") -> Path:
    """Write dictionaries as CSV, with the keys of the first as header."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_wandb_runs(path: Path, rows: Rows) -> Path:
    """The table of runs as the page of a Weights & Biases project exports it."""
    exported = [
        {
            "Name": f"vivid-sun-{number}",
            "State": "finished",
            "Notes": "-",
            "User": "me",
            "Tags": "",
            "Created": "2026-01-02T03:04:05.000Z",
            "Runtime": 61 + number,
            "Sweep": "",
            "batch_size": 128,
            "method": row["method"],
            "seed": row["seed"],
            "epoch": 29,
            "test_acc": row["test_acc"],
            "train_loss": 0.1 * number,
        }
        for number, row in enumerate(rows, 1)
    ]
    return write_csv(path, exported)


def write_wandb_api(path: Path, rows: Rows) -> Path:
    """The data frame that the Weights & Biases documentation builds of a project's runs."""
    exported = [
        {
            "summary": str({"test_acc": row["test_acc"], "_step": 29, "_wandb": {"runtime": 61}}),
            "config": json.dumps({"method": row["method"], "seed": row["seed"], "lr": 0.05}),
            "name": f"calm-sea-{number}",
        }
        for number, row in enumerate(rows, 1)
    ]
    return write_csv(path, exported)


def write_wandb_chart(path: Path, rows: Rows) -> Path:
    """The lines of one chart of Weights & Biases: a column per run, with its extremes."""
    names = [f"{row['method']}-seed{row['seed']} - test_acc" for row in rows]
    lines = []
    for step in (0, 10, 20):
        line: dict[str, Any] = {"Step": step}
        for name, row in zip(names, rows, strict=True):
            value = row["test_acc"] - (20 - step) / 100
            line |= {name: value, f"{name}__MIN": value, f"{name}__MAX": value}
        lines.append(line)
    return write_csv(path, lines)


def write_mlflow_runs(path: Path, rows: Rows) -> Path:
    """What ``mlflow.search_runs().to_csv(...)`` writes."""
    exported = [
        {
            "": number,
            "run_id": f"{number:032x}",
            "experiment_id": 1,
            "status": "FINISHED",
            "artifact_uri": "file:///mlruns/1",
            "start_time": "2026-01-02 03:04:05+00:00",
            "end_time": "2026-01-02 03:05:06+00:00",
            "metrics.test_acc": row["test_acc"],
            "metrics.train_loss": 0.1,
            "params.seed": row["seed"],
            "params.method": row["method"],
            "tags.mlflow.user": "me",
            "tags.mlflow.runName": f"bold-cat-{number}",
        }
        for number, row in enumerate(rows)
    ]
    return write_csv(path, exported)


def write_tensorboard_scalars(folder: Path, rows: Rows) -> list[Path]:
    """A file per run, as the download link of TensorBoard's scalars gives it."""
    return [
        write_csv(
            folder / f"run-{row['method']}_seed{row['seed']}-tag-test_acc.csv",
            [
                {"Wall time": 1767323045.1 + step, "Step": step, "Value": row["test_acc"] + delta}
                for step, delta in ((0, -0.2), (10, 0.1), (20, 0.0))
            ],
        )
        for row in rows
    ]


def predict_rows(
    rng: np.random.Generator, errors: Mapping[str, float], seeds: Iterable[int], rows: int = 60
) -> Rows:
    """Predicted classes that are wrong with the given probability, a row per prediction."""
    targets = rng.choice(["a", "b"], size=rows)
    return [
        {
            "model": method,
            "seed": seed,
            "row_id": row,
            "y_true": target,
            "y_pred": {"a": "b", "b": "a"}[target] if rng.random() < error else target,
        }
        for method, error in errors.items()
        for seed in seeds
        for row, target in enumerate(targets)
    ]

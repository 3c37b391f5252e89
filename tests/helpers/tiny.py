"""A tiny study: its data, its words on the command line, and trainings that are made up."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch
from zlib import crc32

import numpy as np

from dropkit.study import Run
from dropkit.study.training.folds import split_rows
from dropkit.study.training.work import Job, Work
from helpers.fabricated import make_run


def write_table(path: Path, rows: int = 60) -> Path:
    """Write a CSV of two numbers and a target with two classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 2))
    y = np.where(x[:, 0] + 0.5 * rng.normal(size=rows) > 0, "yes", "no")
    lines = [f"{a:.3f},{b:.3f},{label}" for (a, b), label in zip(x, y, strict=True)]
    path.write_text("\n".join(["a,b,target", *lines]) + "\n")
    return path


def train_nothing(work: Work, job: Job) -> Run:
    """Stand in for a training: a run that depends on the job alone, as a real one does."""
    study = work.study
    parts = split_rows(work.data, study, job.seed)
    rows = len(work.data.y_test if parts.test is None else parts.test)
    arguments = dict(job.hyperparameters)
    arguments["base_lr"] = arguments.pop("lr", study.learning_rate)
    luck = crc32(f"{job} {sorted(job.hyperparameters.items())}".encode()) / 2**32
    run = make_run(
        str(job.method),
        job.seed,
        0.5 * luck,
        rows=rows,
        val_loss=[1 / (epoch + 1) + luck for epoch in range(study.epochs or 1)],
        arguments=arguments,
        tested=job.trial is None,
    )
    return run if study.folds is None else replace(run, test_rows=rows)


@contextmanager
def no_training() -> Iterator[None]:
    """Train nothing in this process: every training is `train_nothing`."""
    with patch.object(Work, "__call__", train_nothing):
        yield

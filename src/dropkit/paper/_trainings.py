"""Trainings side by side, each kept as a file as soon as it is done."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dropkit import __version__
from dropkit.files import write_atomic
from dropkit.study.workers.local import LocalWorkers

Settings = dict[str, Any]
Train = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Trainings:
    """Carries out what an experiment asks for.

    Args:
        folder: where finished trainings are kept, so that a run that was stopped goes on; those
            of other versions of dropkit or torch do not count.
        jobs: trainings side by side, one thread each; results do not depend on it.
        show: whether progress goes to standard error.
    """

    folder: Path
    jobs: int | None = None
    show: bool = True

    def all(self, train: Train, settings: list[Settings]) -> list[dict[str, Any]]:
        """Return ``train(**s)`` for each of the settings, in their order.

        Args:
            train: a function at the top level of a module; what it returns can be written as JSON.
            settings: arguments that can be written as JSON and decide the result.
        """
        files = [self._file(train, each) for each in settings]
        left = [i for i, file in enumerate(files) if not file.exists()]
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with (
            Progress(
                *columns,
                TimeElapsedColumn(),
                console=console,
                disable=not (self.show and sys.stderr.isatty()),
            ) as progress,
            LocalWorkers(self.jobs) as workers,
        ):
            task = progress.add_task(
                "trainings", total=len(files), completed=len(files) - len(left)
            )
            work = [(settings[i], files[i]) for i in left]
            for _ in workers.map(partial(_work, train), work, console.print):
                progress.advance(task)
        return [json.loads(file.read_text(encoding="utf-8")) for file in files]

    def _file(self, train: Train, settings: Settings) -> Path:
        what = f"{train.__module__}.{train.__qualname__}", __version__, torch.__version__
        text = json.dumps([*what, settings], sort_keys=True)
        return self.folder / "trainings" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _work(train: Train, wanted: tuple[Settings, Path]) -> None:
    settings, file = wanted
    torch.set_num_threads(1)
    write_atomic(file, json.dumps(train(**settings)) + "\n")

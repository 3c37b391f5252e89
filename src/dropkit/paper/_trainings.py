"""Run trainings in parallel, and store each finished training in a file."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dropkit import __version__
from dropkit.errors import StudyError
from dropkit.files import write_atomic
from dropkit.study.run import environment
from dropkit.study.workers.local import LocalWorkers

Settings = dict[str, Any]
Train = Callable[..., dict[str, Any]]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Trainings:
    """Run the trainings of an experiment.

    Args:
        folder: where to store finished trainings, so that an interrupted run can be resumed, also
            on another machine. Finished trainings are not reused if the version of dropkit or
            torch, or the data, has changed.
        data: fingerprint of the training data.
        jobs: number of parallel trainings, with one thread each; results do not depend on this
            number.
        show: whether to print progress to standard error.
        only_finished: whether to train nothing and only use finished trainings.
    """

    folder: Path
    data: str = ""
    jobs: int | None = None
    show: bool = True
    only_finished: bool = False

    def by_key(self, train: Train, settings: dict[Key, Settings]) -> dict[Key, dict[str, Any]]:
        """Return ``train(**s)`` for each of the settings, under the same key.

        Args:
            train, settings: as in `all`, but the settings have keys. With ``only_finished``,
                settings without a finished training are left out.
        """
        if self.only_finished:
            settings = {k: s for k, s in settings.items() if self._file(train, s).exists()}
        return dict(zip(settings, self.all(train, list(settings.values())), strict=True))

    def all(self, train: Train, settings: list[Settings]) -> list[dict[str, Any]]:
        """Return ``train(**s)`` for each of the settings, in their order.

        Args:
            train: a function at the top level of a module, whose result can be written as JSON.
            settings: arguments that can be written as JSON and determine the result.
        """
        files = [self._file(train, each) for each in settings]
        left = [i for i, file in enumerate(files) if not file.exists()]
        if left and self.only_finished:
            raise StudyError(
                f"{len(left)} of {len(files)} trainings are not finished, and this figure needs "
                "all of them; run the command without --finished"
            )
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
        return [json.loads(file.read_text(encoding="utf-8"))["result"] for file in files]

    def _file(self, train: Train, settings: Settings) -> Path:
        what = _name(train), __version__, torch.__version__, self.data
        text = json.dumps([*what, _without_folder(settings)], sort_keys=True)
        return self.folder / "trainings" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"


def _work(train: Train, wanted: tuple[Settings, Path]) -> None:
    settings, file = wanted
    torch.set_num_threads(1)
    record = {
        "training": _name(train),
        "settings": _without_folder(settings),
        "result": train(**settings),
        "date": time.strftime("%Y-%m-%d"),
        "environment": environment(threads=1),
    }
    write_atomic(file, json.dumps(record, ensure_ascii=False) + "\n")


def _name(train: Train) -> str:
    return f"{train.__module__}.{train.__qualname__}"


def _without_folder(settings: Settings) -> Settings:
    """Return the settings without the data folder, which does not affect the result."""
    return {name: value for name, value in settings.items() if name != "data_dir"}

"""Reproduce a figure or table by name, and write its numbers and its picture."""

from __future__ import annotations

import os
import time
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from dropkit._mode import on_cpu
from dropkit.errors import StudyError
from dropkit.files import RUNS, replacing, write_atomic
from dropkit.paper._experiment import Experiment
from dropkit.paper._outcome import Budget, Reproduction
from dropkit.paper._trainings import Trainings
from dropkit.study.data import load
from dropkit.study.data._fetch import given_folder
from dropkit.study.run import environment
from dropkit.text import nearest

_DPI = 160


def experiments() -> dict[str, Experiment]:
    """Return all experiments by name; each public file of this package defines one or more."""
    package = __name__.rpartition(".")[0]
    names = sorted(m.name for m in iter_modules([str(Path(__file__).parent)]) if m.name[0] != "_")
    modules = [import_module(f"{package}.{name}") for name in names]
    found = [e for m in modules for e in getattr(m, "EXPERIMENTS", None) or (m.EXPERIMENT,)]
    return {experiment.name: experiment for experiment in sorted(found, key=lambda e: e.name)}


@on_cpu()
def reproduce(
    name: str,
    budget: Budget = "quick",
    *,
    out: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    show: bool = True,
    only_finished: bool = False,
) -> Reproduction:
    """Reproduce one figure or table of the paper, and write its numbers and its picture.

    Args:
        name: name of the experiment; `experiments` lists them.
        budget: ``"quick"`` takes about a minute on two cores. ``"short"`` takes 2 to 25 minutes;
            ``table-mnist`` takes longer. ``"medium"`` takes hours to days, and only some
            experiments have it. ``"full"`` is the paper's protocol. The result contains the budget.
        out: the folder for NAME.json, NAME.csv and NAME.svg, and for finished trainings. Repeat the
            same call to resume after an interruption. Default: dropkit-runs/NAME-BUDGET.
        data_dir: the folder with the data sets. Default: ``$DROPKIT_DATA``; without this variable,
            the data is downloaded.
        jobs: number of parallel trainings. Default: one per core. Results do not depend on this
            number.
        show: whether to print progress to standard error.
        only_finished: whether to train nothing and only show finished trainings; only figure-4 and
            table-mnist can be shown in part.

    Returns:
        The numbers and the picture, as written.

    Raises:
        StudyError: the name or budget does not exist; ``only_finished`` is true, but too few
            trainings are finished.
        DataError: the data is not available.
    """
    known = experiments()
    if name not in known:
        raise StudyError(f"no reproduction is called {name!r}: {nearest(name, list(known))}")
    experiment = known[name]
    if budget not in experiment.sizes:
        raise StudyError(
            f"{name} has no budget {budget!r}; choose one of {', '.join(experiment.sizes)}"
        )
    size = experiment.sizes[budget]
    folder = Path(out) if out is not None else RUNS / f"{name}-{budget}"
    started = time.monotonic()
    place = given_folder(None if data_dir is None else Path(data_dir))
    where = None if place is None else str(place.resolve())
    rows = "" if experiment.data is None else load(experiment.data, data_dir=where).fingerprint
    trainings = Trainings(folder, rows, jobs, show, only_finished)
    outcome = experiment.run(trainings, data_dir=where, **size.settings)
    result = Reproduction(
        name=name,
        title=experiment.title,
        source=experiment.source,
        budget=budget,
        complete=size.complete or budget == "full",
        statement=size.statement,
        outcome=outcome,
        command=f"dropkit reproduce {name} --budget {budget}",
        date=time.strftime("%Y-%m-%d"),
        seconds=time.monotonic() - started,
        environment=environment(threads=1),
    )
    write_atomic(folder / f"{name}.json", result.to_json())
    write_atomic(folder / f"{name}.csv", result.to_csv())
    with replacing(folder / f"{name}.svg") as part:
        outcome.figure.savefig(part, format="svg")
    for suffix, figure in outcome.pictures.items():
        with replacing(folder / f"{name}{suffix}.png") as part:
            figure.savefig(part, format="png", dpi=_DPI)
    return result

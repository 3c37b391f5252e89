"""From a command's options to a study that has run, and its report shown."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from dropkit.text import printable

if TYPE_CHECKING:
    from pathlib import Path

    from dropkit.study.execution import Execution
    from dropkit.study.results import Results


def run_given(data: str, out: str | None, given: dict[str, Any]) -> tuple[Results, Path]:
    """Run the study that the options describe; those that are None keep their defaults."""
    from dropkit.study.config import Study
    from dropkit.study.execution import Execution
    from dropkit.study.processes import count_cores
    from dropkit.study.settings import from_values, names
    from dropkit.study.workers.launch import start_server

    base = Study.from_toml(data).to_dict() if data.endswith(".toml") else {"data": data}
    said = base | {name: value for name, value in given.items() if value is not None}
    how = {name: said.pop(name) for name in names(Execution) if name in said}
    execution = from_values(Execution, how)
    if execution.ray is None and (execution.jobs or count_cores()) > 1:
        start_server()  # so that workers import torch and the rest while this process does

    from dropkit.study.methods import parsing
    from dropkit.study.prepare import load_data, prepare_study
    from dropkit.study.start import choose_workers, run_prepared
    from dropkit.study.store.folder import parse_folder

    if isinstance(said.get("methods"), str):
        said["methods"] = parsing.parse_list(said["methods"])
    if isinstance(said.get("hidden"), str):
        said["hidden"] = _widths(said["hidden"])
    study = Study.from_dict(said)
    workers = choose_workers(study, execution)
    folder = None if out is None else parse_folder(out)
    prepared = prepare_study(study, load_data(study), study.model, folder)
    folder = prepared.folder.path
    try:
        return run_prepared(prepared, workers, execution), folder
    except KeyboardInterrupt:
        again = _again(prepared.command, out, execution)
        stopped = f"stopped; finished trainings are kept in {folder}. To go on:\n  {again}"
        print(printable(f"\ndropkit: {stopped}"), file=sys.stderr)
        raise


def present(results: Results, folder: Path) -> None:
    """Write the report's files, print the verdict and the tables, and say where the report is."""
    from dropkit.study import report

    report.write(results.analysis, folder)
    report.show(results.analysis)
    print(printable(f"\nreport: {folder / 'report.html'}"))


def _again(command: str, out: str | None, execution: Execution) -> str:
    """The command that goes on."""
    from dropkit.study.settings import to_options

    options = [] if out is None else ["--out", out]
    return " ".join([command, shlex.join([*options, *to_options(execution)])]).strip()


def _widths(text: str) -> tuple[int, ...]:
    from dropkit.errors import StudyError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise StudyError(
            f"--hidden must be whole numbers joined by commas, such as 512,512; got {text!r}"
        ) from None

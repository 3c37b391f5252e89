"""Run a study with the options of a command, and show its report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.files import RUNS
from dropkit.text import printable

if TYPE_CHECKING:
    from dropkit.study.analysis import Analysis
    from dropkit.study.execution import Execution
    from dropkit.study.results import Results


def run_given(data: str, out: str | None, given: dict[str, Any]) -> tuple[Results, Path]:
    """Run a study with these options; None means the default."""
    from dropkit.study.config import Study
    from dropkit.study.execution import Execution
    from dropkit.study.processes import count_cores
    from dropkit.study.settings import from_values, names
    from dropkit.study.workers.launch import start_server

    base = _read_settings(data)
    settings = base | {name: value for name, value in given.items() if value is not None}
    how = {name: settings.pop(name) for name in names(Execution) if name in settings}
    execution = from_values(Execution, how)
    if execution.ray is None and (execution.jobs or count_cores()) > 1:
        start_server()  # workers import torch while this process imports it, too

    from dropkit.study.methods import parsing
    from dropkit.study.prepare import load_data, prepare_study
    from dropkit.study.start import choose_workers, run_prepared
    from dropkit.study.store.folder import parse_folder

    if isinstance(settings.get("methods"), str):
        settings["methods"] = parsing.parse_list(settings["methods"])
    if "train" in settings:
        return _run_training(settings, execution, out)
    if isinstance(settings.get("hidden"), str):
        settings["hidden"] = _widths(settings["hidden"])
    study = Study.from_dict(settings)
    workers = choose_workers(study, execution)
    folder = None if out is None else parse_folder(out)
    prepared = prepare_study(study, load_data(study), study.model, folder)
    folder = prepared.folder.path
    with _print_how_to_resume(folder, prepared.command, out, execution):
        return run_prepared(prepared, workers, execution), folder


def _run_training(
    settings: dict[str, Any], execution: Execution, out: str | None
) -> tuple[Results, Path]:
    """Run a study of the user's training function."""
    from dropkit.study.start_training import (
        check_training,
        run_training_study,
        training_command,
        training_folder,
    )
    from dropkit.study.store.folder import parse_folder
    from dropkit.study.training_study import TrainingStudy

    study = TrainingStudy.from_dict(settings)
    check_training(study, study.train)
    folder = training_folder(study, study.train, None if out is None else parse_folder(out))
    with _print_how_to_resume(folder.path, training_command(study), out, execution):
        return run_training_study(study, study.train, folder, execution), folder.path


def _read_settings(data: str) -> dict[str, Any]:
    """Read DATA, which is a study file, a training function or data, and return its settings."""
    from dropkit.errors import StudyError
    from dropkit.study.plan import read_settings
    from dropkit.study.training_study import read_plan

    if data.endswith(".toml"):
        return read_plan(read_settings(data)).to_dict()
    if data.endswith(".py"):
        names = ", ".join(f"{data}:{name}" for name in _list_functions(data))
        hint = f"; it has {names}" if names else ""
        raise StudyError(f"name the training function in {data}, as {data}:train{hint}")
    return {"train": data} if data.rpartition(":")[0].endswith(".py") else {"data": data}


def _list_functions(path: str) -> list[str]:
    """List the functions with one argument in a file, without running it."""
    import ast
    from pathlib import Path

    try:
        body = ast.parse(Path(path).read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    functions = (each for each in body if isinstance(each, ast.FunctionDef))
    return [each.name for each in functions if len(each.args.args) == 1]


@contextmanager
def _print_how_to_resume(
    folder: Path, command: str, out: str | None, execution: Execution
) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        again = _resume_command(command, out, execution)
        stopped = f"stopped; finished runs are kept in {folder}. To resume:\n  {again}"
        print(printable(f"\ndropkit: {stopped}"), file=sys.stderr)
        raise


def present(
    results: Results, folder: Path, *, runs: Path | None = None, in_browser: bool = False
) -> None:
    """Write the report's files, and print the verdict, the tables and the path of the report.

    ``runs`` is the run folder if the report goes to another folder.
    """
    import webbrowser

    from dropkit.study import report

    analysis = _continue_in(runs or folder, results.analysis)
    report.write(analysis, folder)
    report.show(analysis)
    page = folder / "report.html"
    print(printable(f"\nreport: {page}"))
    if in_browser:
        webbrowser.open(page.resolve().as_uri())


def _continue_in(runs: Path, analysis: Analysis) -> Analysis:
    """Add ``--out`` to the next command if it continues a study in a folder that the user chose."""
    verdict = analysis.verdict
    command = verdict.step.command
    is_chosen = runs.parent != RUNS
    if not (is_chosen and verdict.step.keeps_runs and command.startswith("dropkit compare")):
        return analysis
    step = replace(verdict.step, command=f"{command} {shlex.join(['--out', str(runs)])}")
    return replace(analysis, verdict=replace(verdict, step=step))


def _resume_command(command: str, out: str | None, execution: Execution) -> str:
    """Return the command that resumes the study."""
    from dropkit.study.settings import to_options

    options = [] if out is None else ["--out", out]
    return " ".join([command, shlex.join([*options, *to_options(execution)])]).strip()


def _widths(text: str) -> tuple[int, ...]:
    from dropkit.errors import StudyError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise StudyError(
            f"--hidden must be integers separated by commas, such as 512,512; got {text!r}"
        ) from None

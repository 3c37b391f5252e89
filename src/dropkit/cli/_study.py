"""From a command's options to a study that has run, and its report shown."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dropkit._checks import printable

if TYPE_CHECKING:
    from dropkit.study import Results
    from dropkit.study.files import Place


def run_given(
    data: str, out: str | None, how: dict[str, Any], **given: Any
) -> tuple[Results, Place]:
    """Run the study that the options describe; those that are None keep their defaults.

    ``how`` it is run, on which workers and for how long, decides nothing about the results.
    """
    from dropkit.study import Study, expression
    from dropkit.study.check import with_epochs
    from dropkit.study.compare import command, load_data, run_folder, run_study
    from dropkit.study.files import locate

    if given["methods"] is not None:
        given["methods"] = expression.parse_list(given["methods"])
    if given["hidden"] is not None:
        given["hidden"] = _widths(given["hidden"])
    base = Study.from_toml(data).to_dict() if data.endswith(".toml") else {"data": data}
    study = Study.from_dict(base | {k: v for k, v in given.items() if v is not None})
    rows = load_data(study)
    study = with_epochs(study, rows)
    folder = run_folder(study, rows, study.model, None if out is None else locate(out))
    try:
        results = run_study(study, rows, study.model, folder.path, **how)
    except KeyboardInterrupt:
        again = command(study) + (f" --out {shlex.quote(out)}" if out else "")
        said = f"stopped; finished trainings are kept in {folder.path}. To go on:\n  {again}"
        print(printable(f"\ndropkit: {said}"), file=sys.stderr)
        raise
    return results, folder.path


def present(results: Results, folder: Place, show: Callable[[Results], None] | None = None) -> None:
    """Write the report's files, ``show`` the verdict and the table, and say where the report is."""
    from dropkit import report as reporting

    reporting.write(results, folder)
    (show or reporting.show)(results)
    print(printable(f"\nreport: {folder / 'report.html'}"))


def _widths(text: str) -> tuple[int, ...]:
    from dropkit.study import StudyError

    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise StudyError(
            f"--hidden must be whole numbers joined by commas, such as 512,512; got {text!r}"
        ) from None

"""Define `Results`, which `compare` returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.study.analysis import Analysis, analyze
from dropkit.study.analysis.table import tabulate
from dropkit.study.record import DataInfo, Record, Run, Tuning
from dropkit.study.record.predictions import Predictions
from dropkit.study.remeasure import judge_by
from dropkit.study.store.complete import check_complete

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Results:
    """The measurements of a study, and the conclusions from them.

    ``print(results)`` gives the verdict, `table` the numbers, `plot` the curves. ``record`` holds
    the measurements and ``analysis`` the conclusions; the other attributes come from the record.

    >>> results = Results.load("dropkit-runs/digits")  # doctest: +SKIP
    >>> results.table().difference  # doctest: +SKIP
    """

    record: Record

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read the results of a finished study; ``path`` is its run folder or a ``results.json``.

        Raises:
            StudyError: the file does not exist or is damaged, or the study is not finished.
        """
        path = Path(path)
        if path.is_dir():
            check_complete(path)
            path = path / "results.json"
        return cls(Record.load(path))

    def save(self, path: str | Path) -> None:
        """Write the record atomically to a JSON file that `load` can read."""
        self.record.save(path)

    def by_metric(self, name: str, folder: str | Path) -> Results:
        """Evaluate the study by another metric, from the predictions saved in its run folder.

        Only test rows are scored by this metric. One of the alerts says that the metric was chosen
        after the study.

        Args:
            name: the metric, such as ``auc``, ``f1-macro`` or ``mae``.
            folder: the run folder.

        Raises:
            StudyError: there are no predictions, or the metric does not fit them.
        """
        return Results(judge_by(self.record, name, Predictions.load(Path(folder))))

    @cached_property
    def analysis(self) -> Analysis:
        """The summaries of all methods, the verdict and the alerts, computed at first use."""
        return analyze(self.record)

    def table(self) -> pd.DataFrame:
        """Return a DataFrame with one row per method: errors, differences, gap, cost, intervals."""
        return tabulate(self.analysis)

    def plot(self) -> Figure:
        """Plot validation error against epoch for every method, with confidence bands."""
        from dropkit.study.report.figures import draw_curves  # matplotlib takes half a second

        return draw_curves(self.analysis)

    def __str__(self) -> str:
        return "\n".join(self.analysis.lines)

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self)).replace(chr(10), '<br>')}</p>{self.table().to_html()}"

    @property
    def study(self) -> dict[str, Any]:
        """The settings of the study."""
        return self.record.study

    @property
    def data(self) -> DataInfo:
        """Name, task, sizes and classes of the data."""
        return self.record.data

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order given."""
        return self.record.methods

    @property
    def baseline(self) -> str:
        """The method to compare the others with: ``none`` if present, otherwise the first."""
        return self.record.baseline

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, ordered by method."""
        return self.record.runs

    def of(self, method: str) -> tuple[Run, ...]:
        """Return the runs of one method, ordered by seed."""
        return self.record.of(method)

    @property
    def tuned(self) -> dict[str, tuple[dict[str, float], ...]]:
        """The arguments that tuning chose for each seed, by method."""
        return self.record.tuned

    @property
    def tuning(self) -> dict[str, Tuning]:
        """The numbers of trials and epochs that each method's search used."""
        return self.record.tuning

    @property
    def environment(self) -> dict[str, str]:
        """Versions and hardware."""
        return self.record.environment

    @property
    def command(self) -> str:
        """The command that repeats the study."""
        return self.record.command

    @property
    def timing(self) -> dict[str, str]:
        """When and how the study ran."""
        return self.record.timing

"""Write a judgment as JSON and as a report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropkit.files import write_atomic
from dropkit.study.analysis import Estimate, MethodSummary
from dropkit.study.analysis.sets import SetsAnalysis
from dropkit.study.report.judged.html import render_runs, render_sets

if TYPE_CHECKING:
    from dropkit.study.judging.judgment import Judgment

FORMAT = "dropkit-judgment/1"


def to_plain(judgment: Judgment) -> dict[str, Any]:
    """Return the verdict and the numbers as plain values."""
    record = next(iter(judgment.analyses.values())).record
    return {
        "format": FORMAT,
        "verdict": asdict(judgment.verdict),
        "alerts": list(judgment.alerts),
        "notes": list(judgment.notes),
        "columns": judgment.columns.taken,
        "measure": asdict(record.data.measure),
        "baseline": record.baseline,
        "data sets": {
            name: {
                "paired": analysis.record.paired,
                "methods": [_list_numbers(summary) for summary in analysis.summaries],
            }
            for name, analysis in judgment.analyses.items()
        },
        "over data sets": None if judgment.sets is None else _describe_sets(judgment.sets),
    }


def write_files(judgment: Judgment, folder: Path) -> None:
    """Write ``report.html`` and ``judgment.json`` into a folder, each atomically."""
    if judgment.sets is None:
        (analysis,) = judgment.analyses.values()
        page = render_runs(analysis, judgment.alerts, judgment.notes)
    else:
        page = render_sets(judgment.sets, judgment.notes)
    write_atomic(folder / "report.html", page)
    text = json.dumps(to_plain(judgment), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / "judgment.json", text + "\n")


def _list_numbers(summary: MethodSummary) -> dict[str, Any]:
    return {
        "method": summary.method,
        "runs": summary.runs,
        "value": _list_ends(summary.value),
        "difference": _list_ends(summary.difference),
        "p": summary.p,
        "p_holm": summary.p_holm,
    }


def _list_ends(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else asdict(estimate)


def _describe_sets(found: SetsAnalysis) -> dict[str, Any]:
    return {
        "friedman": None if found.friedman is None else asdict(found.friedman),
        "critical_difference": found.critical_difference,
        "methods": [asdict(summary) for summary in found.summaries],
        "differences": [asdict(each) for each in found.differences],
    }

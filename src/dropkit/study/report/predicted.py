"""Show predictions for the test rows: confused classes, reliability, and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dropkit.study.analysis import Analysis
from dropkit.study.analysis.words import (
    SHARE,
    format_amount,
    format_interval,
    name_in_sentence,
    name_method,
)
from dropkit.study.record import Record
from dropkit.study.record.predictions import Predictions
from dropkit.study.report.error_table import (
    confuse,
    list_predictions,
    list_seeds,
    list_targets,
    name_classes,
)
from dropkit.study.report.figures import COLOURS, INK, make_panels
from dropkit.study.report.wrapping import wrap_name

Array = npt.NDArray[np.float64]

MOST_CLASSES = 20
"""The largest number of classes for a confusion matrix and a table."""

BINS = 10


def choose_shown(analysis: Analysis, kept: Predictions) -> tuple[str, ...]:
    """Choose the methods to show: the baseline, and the method that the verdict recommends.

    If the verdict recommends no method, only the baseline is shown, because luck may decide which
    other method looks best. Methods without saved predictions are left out.
    """
    record, verdict = analysis.record, analysis.verdict
    wanted = (record.baseline, verdict.best) if verdict.best else (record.baseline,)
    return tuple(method for method in wanted if list_predictions(record, kept, method))


def describe_shown(analysis: Analysis, shown: Sequence[str]) -> str:
    """State which methods are shown, and why."""
    names = " and ".join(name_in_sentence(analysis.record, method) for method in shown)
    if analysis.verdict.best in shown:
        return f"Shown: {names}, the best of those that are significantly better."
    if len(analysis.record.methods) == 1:
        return f"Shown: {names}."
    return f"Shown: only {names}, because the verdict recommends no method."


def has_matrix(record: Record) -> bool:
    """Return whether there are few enough classes to show each of them."""
    return record.data.task == "classification" and 2 <= record.data.outputs <= MOST_CLASSES


def draw_confusion(record: Record, kept: Predictions, shown: Sequence[str]) -> Figure:
    """Draw confusion matrices: shares of each class's test rows by predicted class."""
    names = name_classes(record)
    figure, panels = make_panels(4.2 * len(shown), 4.4, 1, len(shown))
    for axes, method in zip(panels, shown, strict=True):
        shares = _confuse(record, kept, method, len(names))
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
        if len(names) <= 10:
            for (i, j), share in np.ndenumerate(shares):
                text = "" if share < 0.0005 else f"{100 * share:.1f}".removesuffix(".0")
                colour = "white" if share > 0.4 else "#1f2330"  # readable on blue
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        ticks = range(len(names))
        axes.set_xticks(ticks, [wrap_name(n, 12) for n in names], rotation=90, fontsize=8)
        axes.set_yticks(ticks, [wrap_name(n, 12) for n in names], fontsize=8)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        _title(axes, name_method(record, method))
    return figure


def draw_reliability(record: Record, kept: Predictions, shown: Sequence[str]) -> Figure:
    """Draw accuracy against confidence in ten bins of equal size, with 95 % intervals."""
    figure, (axes,) = make_panels(4.6, 4.2, 1, 1)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=1, dashes=(2, 2), label="calibrated")
    for method, colour, marker in zip(shown, (INK, COLOURS[0]), "os", strict=False):
        confidence, accuracy, half = _bin(record, kept, method)
        axes.errorbar(
            100 * confidence,
            100 * accuracy,
            yerr=100 * np.stack([np.minimum(half, accuracy), np.minimum(half, 1 - accuracy)]),
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.4,
            label=name_method(record, method),
        )
    axes.set_xlabel("confidence, %")
    axes.set_ylabel("accuracy, %")
    axes.set_xlim(left=100 / max(record.data.outputs, 2) - 1, right=101)
    axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def describe_calibration(analysis: Analysis, shown: Sequence[str]) -> str:
    """State the calibration error of the methods shown, and that of calibrated networks."""
    known = [s for s in analysis.summaries if s.method in shown and s.calibration is not None]
    sentences = []
    for summary in known:
        assert summary.calibration is not None
        error = format_amount(summary.calibration.mean, SHARE)
        if summary.calibration.low is not None:
            error += f" {format_interval(summary.calibration, SHARE)}"
        chance = summary.calibration_by_chance
        also = (
            ""
            if chance is None
            else " By chance, even a perfectly calibrated network can have a calibration error of "
            f"{format_amount(chance, SHARE)} on a test set of this size."
        )
        name = name_in_sentence(analysis.record, summary.method)
        sentences.append(f" Calibration error of {name}: {error}.{also}")
    return "".join(sentences)


def draw_values(record: Record, kept: Predictions, shown: Sequence[str]) -> Figure:
    """Draw predicted against true values, and the residuals, averaged over the seeds."""
    figure, panels = make_panels(8.4, 4.0, 1, 2)
    low, high = float(kept.targets.min()), float(kept.targets.max())
    panels[0].plot(
        [low, high], [low, high], color=INK, linewidth=1, dashes=(2, 2), label="exact prediction"
    )
    for method, colour, marker in zip(shown, (INK, COLOURS[0]), "os", strict=False):
        targets, predicted = _average_rows(record, kept, method)
        look: dict[str, Any] = {
            "color": colour,
            "marker": marker,
            "linestyle": "",
            "markersize": 3,
            "alpha": 0.5,
        }
        label = name_method(record, method)
        panels[0].plot(targets, predicted, label=label, rasterized=True, **look)
        panels[1].plot(predicted, targets - predicted, label=label, rasterized=True, **look)
    panels[1].axhline(0, color=INK, linewidth=1, dashes=(2, 2))
    panels[0].set_xlabel("true")
    panels[0].set_ylabel("predicted")
    panels[1].set_xlabel("predicted")
    panels[1].set_ylabel("true − predicted")
    for axes in panels:
        axes.legend(frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _average_rows(record: Record, kept: Predictions, method: str) -> tuple[Array, Array]:
    """Return the targets of the rows, and the mean prediction of the runs that tested each row."""
    total, count = np.zeros(len(kept.targets)), np.zeros(len(kept.targets))
    for seed in list_seeds(record, kept, method):
        rows = kept.rows.get(seed, slice(None))
        total[rows] += kept.predicted[method, seed].astype(np.float64).reshape(-1)
        count[rows] += 1
    known = count > 0
    return kept.targets[known], total[known] / count[known]


def _confuse(record: Record, kept: Predictions, method: str, classes: int) -> Array:
    shares: Array = confuse(record, kept, method, classes).mean(0)
    return shares


def _bin(record: Record, kept: Predictions, method: str) -> tuple[Array, Array, Array]:
    """Return mean confidence and accuracy of every bin, and the accuracy's half-interval."""
    all_of = np.concatenate(list_predictions(record, kept, method))
    targets = np.concatenate(list_targets(record, kept, method))
    confidence = np.exp(all_of.max(1))
    right = all_of.argmax(1) == targets
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    shares = np.array([right[part].mean() for part in parts])
    times = len(all_of) / len(kept.targets)  # how often each row was predicted
    rows = np.array([len(part) for part in parts]) / times
    half = 1.96 * np.sqrt(shares * (1 - shares) / rows.clip(min=1))
    return np.array([confidence[part].mean() for part in parts]), shares, half


def _title(axes: Axes, name: str) -> None:
    axes.set_title(wrap_name(name, 30), fontsize=10, color=INK, loc="left")

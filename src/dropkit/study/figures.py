"""`Results` → figures: error against epoch, final errors, error against cost."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dropkit.study.results import Results, Run
from dropkit.study.stats import t_interval
from dropkit.study.summary import MethodSummary, summarize

if TYPE_CHECKING:
    from collections.abc import Iterable

# Okabe and Ito's colours for the colour-blind, without the yellow that white swallows. The
# baseline has the ink's own colour; markers and dashes tell the methods apart without colour.
INK = "#1f2328"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
_DASHES = ((), (6, 2), (2, 1.5), (6, 2, 1.5, 2), (9, 2), (1, 1))
_WIDTH, _SIZE = 4.8, 10


def styles(results: Results) -> dict[str, tuple[str, str, tuple[float, ...]]]:
    """Colour, marker and dashes of every method; the baseline is ink, solid."""
    others = [method for method in results.methods if method != results.baseline]
    looks = zip(
        others, cycle(_COLOURS), islice(cycle(_MARKERS), 1, None), cycle(_DASHES[1:]), strict=False
    )
    return {results.baseline: (INK, "o", ())} | {m: (c, k, d) for m, c, k, d in looks}


def curves(results: Results) -> Figure:
    """Validation error against epoch, mean over the seeds, with its 95 % band.

    The axis is logarithmic and fits what follows the first tenth of the epochs. A seed that
    stopped early keeps its last value, so that every mean is over all.
    """
    figure, axes = _figure(4.2)
    settled = []
    for method, (colour, marker, dashes) in styles(results).items():
        errors = _errors_by_epoch(results.of(method))
        if errors is None:
            continue
        epochs = np.arange(1, errors.shape[1] + 1)
        estimates = [t_interval(column) for column in errors.T]
        mean = np.array([estimate.mean for estimate in estimates])
        settled.append(mean[len(mean) // 10 :])
        axes.plot(
            epochs,
            _shown(mean, results),
            color=colour,
            marker=marker,
            markersize=4.5,
            markevery=(0.05, 0.16),
            linewidth=1.6,
            dashes=dashes or (None, None),
            label=method,
        )
        if len(errors) > 1:
            low = [e.mean if e.low is None else e.low for e in estimates]
            high = [e.mean if e.high is None else e.high for e in estimates]
            axes.fill_between(
                epochs,
                _shown(np.array(low), results),
                _shown(np.array(high), results),
                color=colour,
                alpha=0.1,
                linewidth=0,
            )
    axes.set_yscale("log", nonpositive="clip")
    if settled:
        values = np.concatenate(settled)
        lowest = values[values > 0].min(initial=np.inf)
        highest = max(float(np.quantile(part, 0.97)) for part in settled)
        if 0 < lowest < highest:
            axes.set_ylim(*_shown(np.array([lowest * 0.7, highest * 1.4]), results))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"validation {_unit(results)}")
    _legend(figure, axes)
    return figure


def errors(results: Results) -> Figure:
    """Final test errors: one point per seed, the mean and its 95 % interval."""
    summaries = [summary for summary in summarize(results) if summary.error is not None]
    figure, axes = _figure(1.1 + 0.42 * len(summaries))
    look = styles(results)
    for row, summary in enumerate(reversed(summaries)):
        colour, marker, _ = look[summary.method]
        points = np.array([run.test.error for run in results.of(summary.method) if run.test])
        spread = np.linspace(-0.13, 0.13, len(points)) if len(points) > 1 else np.zeros(1)
        axes.plot(
            _shown(points, results), row + spread, marker, color=colour, alpha=0.45, markersize=4
        )
        _mean_point(axes, summary, row, colour, marker, results)
        if summary.method == results.baseline and summary.error is not None:
            axes.axvline(
                _shown(np.array([summary.error.mean]), results)[0],
                color=INK,
                linewidth=0.8,
                linestyle=(0, (2, 3)),
            )
    names = ["\n+".join(s.method.split("+")) for s in reversed(summaries)]
    axes.set_yticks(range(len(summaries)), names)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.set_ylim(-0.6, len(summaries) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"test {_unit(results)}")
    axes.grid(axis="x", color=INK, alpha=0.12, linewidth=0.7)
    return figure


def cost(results: Results) -> Figure:
    """Test error against training time, as a multiple of the baseline's."""
    summaries = [summary for summary in summarize(results) if summary.error is not None]
    figure, axes = _figure(3.6)
    look = styles(results)
    for summary in summaries:
        if summary.error is None or summary.time_ratio is None:
            continue
        colour, marker, _ = look[summary.method]
        value = _shown(np.array([summary.error.mean]), results)[0]
        if summary.error.low is not None and summary.error.high is not None:
            ends = _shown(np.array([summary.error.low, summary.error.high]), results)
            axes.plot([summary.time_ratio] * 2, ends, color=colour, linewidth=1.4, alpha=0.7)
        axes.plot(
            summary.time_ratio,
            value,
            marker,
            color=colour,
            markersize=8,
            label=summary.method,
        )
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.7) * 0.9, max(high, 1.5) * 1.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"training time, as a multiple of {results.baseline}'s")
    axes.set_ylabel(f"test {_unit(results)}")
    axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    _legend(figure, axes)
    return figure


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0.0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(INK)
    axes.tick_params(colors=INK, labelsize=_SIZE)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(_SIZE)
        label.set_color(INK)
    return figure, axes


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 1 if max(map(len, labels), default=0) > 24 else 2
    legend = figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        handlelength=3.0,
        labelcolor=INK,
        fontsize=_SIZE,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # names are text, whatever signs they hold


def _mean_point(
    axes: Axes, summary: MethodSummary, row: int, colour: str, marker: str, results: Results
) -> None:
    estimate = summary.error
    assert estimate is not None
    mean = _shown(np.array([estimate.mean]), results)[0]
    if estimate.low is not None and estimate.high is not None:
        ends = _shown(np.array([estimate.low, estimate.high]), results)
        axes.plot(ends, [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
    axes.plot(mean, row, marker, color=colour, markersize=9)


def _errors_by_epoch(runs: Iterable[Run]) -> np.ndarray | None:
    rows = [list(run.curve.val_error) for run in runs if run.status == "finished"]
    length = max(map(len, rows), default=0)
    if length == 0:
        return None
    return np.array([row + row[-1:] * (length - len(row)) for row in rows], dtype=np.float64)


def _shown(values: np.ndarray, results: Results) -> np.ndarray:
    return 100 * values if results.data.task == "classification" else values


def _unit(results: Results) -> str:
    return "error, %" if results.data.task == "classification" else "RMSE"

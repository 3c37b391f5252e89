"""Draw the figures of an analysis: error against epoch, final errors, error against cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from dropkit.study.analysis import Analysis, Estimate
from dropkit.study.analysis.stats import t_interval
from dropkit.study.analysis.words import name_constant, name_method
from dropkit.study.record import Record
from dropkit.study.report.numbers import name_unit
from dropkit.study.report.wrapping import wrap_name

FloatArray = npt.NDArray[np.float64]

# Okabe and Ito's colours for the colour-blind, without yellow, which is hard to see on white. The
# baseline has the colour of the text. Markers and dashes also distinguish the methods.
INK = "#1f2328"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "h", "*", "p")
_DASHES = ((), (6, 2), (2, 1.5), (6, 2, 1.5, 2), (9, 2), (1, 1))
_WIDTH, _SIZE = 4.2, 10

Panels = list[Axes]
Band = tuple[FloatArray, FloatArray, FloatArray]


def _choose_looks(record: Record) -> dict[str, tuple[str, str, tuple[float, ...]]]:
    """Choose colour, marker and dashes of every method; the baseline is a solid ink line."""
    others = [method for method in record.methods if method != record.baseline]
    looks = zip(
        others, cycle(COLOURS), islice(cycle(MARKERS), 1, None), cycle(_DASHES[1:]), strict=False
    )
    return {record.baseline: (INK, "o", ())} | {m: (c, k, d) for m, c, k, d in looks}


def draw_curves(analysis: Analysis) -> Figure:
    """Draw the mean validation error over the seeds against epoch, with its 95 % band.

    Every method has its own panel, which also shows the baseline, because many bands in one panel
    hide each other. All panels share their axes. If lower is better and no mean is 0, the axis is
    logarithmic and fits the values after the first tenth of the epochs. A run that stopped early
    keeps its last value, so that every mean is over all seeds.
    """
    record = analysis.record
    return _draw_curves(record, _list_compared(record), _compute_bands(record))


def draw_curve_panels(analysis: Analysis) -> dict[str, Figure]:
    """Draw the panels of `draw_curves` as separate figures, by method.

    The result is empty if no finished run has validation values, which a user's own training may
    omit.
    """
    record = analysis.record
    bands = _compute_bands(record)
    if not any(bands.values()) and any(run.status == "finished" for run in record.runs):
        return {}
    return {method: _draw_curves(record, [method], bands) for method in _list_compared(record)}


def draw_errors(analysis: Analysis) -> Figure:
    """Draw final test errors: one point per run, and the mean with its 95 % interval."""
    record, scale = analysis.record, _scale(analysis.record)
    shown = [(s.method, s.value) for s in analysis.summaries if s.value is not None]
    names = [wrap_name(name_method(record, method), 44) for method, _ in shown]
    heights = np.array([0.34 + 0.2 * (name.count("\n") + 1) for name in names])
    places = -np.cumsum(heights) + 0.17
    figure, (axes,) = make_panels(_WIDTH, 1.4 + heights.sum())
    look = _choose_looks(record)
    for (method, error), name, place in zip(shown, names, places, strict=True):
        colour, marker, _ = look[method]
        points = [scale * run.test.value for run in record.of(method) if run.test]
        spread = np.linspace(-0.07, 0.07, len(points)) if len(points) > 1 else np.zeros(1)
        axes.plot(points, place + spread, marker, color=colour, alpha=0.45, markersize=4)
        if ends := _scale_ends(error, scale):
            axes.plot(ends, [place] * 2, color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(scale * error.mean, place, marker, color=colour, markersize=9)
        if method == record.baseline:
            axes.axvline(
                scale * error.mean,
                color=INK,
                linewidth=0.8,
                linestyle=(0, (2, 3)),
                label="mean of the baseline",
            )
        # Above its row, so that a long name takes no width from the plot.
        axes.annotate(
            name,
            (0, place + 0.14),
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=_SIZE,
            verticalalignment="bottom",
            annotation_clip=False,
            parse_math=False,
        )
    _draw_constant(axes.axvline, record, [scale * error.mean for _, error in shown])
    axes.set_ylim(-heights.sum() - 0.05, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(_name_measure(record, "test"))
    axes.grid(axis="x", color=INK, alpha=0.12, linewidth=0.7)
    _add_legend(figure, 2)
    return figure


def draw_costs(analysis: Analysis) -> Figure:
    """Draw test error against training time, as a multiple of the baseline's."""
    record, scale = analysis.record, _scale(analysis.record)
    shown = [s for s in analysis.summaries if s.value is not None]
    names = [wrap_name(name_method(record, summary.method), 44) for summary in shown]
    columns = 1 if max(map(len, names), default=0) > 18 else 2
    lines = sum(name.count("\n") + 1 for name in names) / columns
    figure, (axes,) = make_panels(_WIDTH, 2.8 + 0.2 * lines)
    look = _choose_looks(record)
    for summary, name in zip(shown, names, strict=True):
        error, time = summary.value, summary.time_ratio
        if error is None or time is None:
            continue
        colour, marker, _ = look[summary.method]
        if ends := _scale_ends(error, scale):
            axes.plot([time] * 2, ends, color=colour, linewidth=1.4, alpha=0.7)
        axes.plot(time, scale * error.mean, marker, color=colour, markersize=8, label=name)
    axes.set_xscale("log")
    ratios = [s.time_ratio for s in shown if s.time_ratio is not None]
    low, high = min([0.55, *ratios]) / 1.15, max([1.8, *ratios]) * 1.15
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    values = [scale * s.value.mean for s in shown if s.value is not None]
    _draw_constant(axes.axhline, record, values)
    axes.set_xlabel("time, as a multiple of the baseline's (log scale)")
    axes.set_ylabel(_name_measure(record, "test"))
    axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    _add_legend(figure, columns)
    return figure


def _draw_constant(line: Callable[..., Line2D], record: Record, values: list[float]) -> None:
    """Draw a line at the best constant prediction, unless it is far from all other values."""
    constant = record.data.constant_value
    if constant is None or not values:
        return
    place = _scale(record) * constant
    if min(values) / 3 <= place <= 3 * max(values):
        name = f"always {name_constant(record.data.task)}"
        line(place, color=INK, linewidth=0.9, alpha=0.6, label=name)


def _add_legend(figure: Figure, columns: int) -> None:
    """Add a legend below the panels; names are plain text, even with signs such as ``$``."""
    if not any(axes.get_legend_handles_labels()[0] for axes in figure.axes):
        return
    legend = figure.legend(
        loc="outside lower center", ncols=columns, frameon=False, labelcolor=INK, fontsize=_SIZE
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _list_compared(record: Record) -> list[str]:
    return [m for m in record.methods if m != record.baseline] or list(record.methods)


def _compute_bands(record: Record) -> dict[str, Band | None]:
    """Return the bands by method; a single value, as of a closed form, becomes a constant band."""
    bands = {method: _compute_band(record, method) for method in record.methods}
    epochs = max((len(band[1]) for band in bands.values() if band), default=0)
    for method, band in bands.items():
        if band and len(band[1]) == 1:
            low, mean, high = (part.repeat(epochs) for part in band)
            bands[method] = low, mean, high
    return bands


def _draw_curves(record: Record, methods: list[str], bands: dict[str, Band | None]) -> Figure:
    columns = min(3, len(methods))
    lines = -(-len(methods) // columns)
    figure, grid = make_panels(3.3 * columns, 2.6 * lines, lines, columns)
    limits = _find_limits([band for band in bands.values() if band is not None])
    is_log = (
        limits is not None and _are_positive(bands) and not record.data.measure.higher_is_better
    )
    look = _choose_looks(record)
    for axes, method in zip(grid, methods, strict=False):
        for shown in dict.fromkeys((record.baseline, method)):
            band = bands[shown]
            if band is not None:
                _draw_band(axes, band, *look[shown], name=name_method(record, shown))
        name = wrap_name(method, 26) + ("" if bands[method] else "\nno run finished")
        title = axes.set_title(name, loc="left", color=INK, fontsize=_SIZE, fontweight="bold")
        title.set_parse_math(False)
        _style_curve_axes(axes, limits if is_log else None)
        scale = " (log scale)" if is_log else ""
        axes.set_ylabel(_name_measure(record, "validation") + scale)
        if any(bands[shown] for shown in (record.baseline, method)):
            legend = axes.legend(
                loc="upper right", frameon=False, labelcolor=INK, fontsize=0.8 * _SIZE
            )
            for text in legend.get_texts():
                text.set_parse_math(False)
    for axes in grid[len(methods) :]:
        axes.remove()
    return figure


def make_panels(
    width: float, height: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, Panels]:
    """Return a figure with a grid of panels in the project's style, without a background."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0.0)
    grid: Panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.patch.set_alpha(0.0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(INK)
        axes.tick_params(which="both", colors=INK, labelsize=_SIZE)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(_SIZE)
            label.set_color(INK)
    return figure, grid


def _style_curve_axes(axes: Axes, limits: tuple[float, float] | None) -> None:
    """Use a logarithmic axis between limits; without limits, a linear axis, which can show 0."""
    if limits is not None:
        axes.set_yscale("log", nonpositive="clip")
        axes.set_ylim(*limits)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def _draw_band(
    axes: Axes, band: Band, colour: str, marker: str, dashes: tuple[float, ...], *, name: str
) -> None:
    low, mean, high = band
    epochs = np.arange(1, len(mean) + 1)
    axes.fill_between(epochs, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(
        epochs,
        mean,
        color=colour,
        marker=marker,
        markersize=4.5,
        markevery=(0.05, 0.22)
        if len(mean) > 1
        else 1,  # spacing by length, which a single point does not have
        linewidth=1.5,
        dashes=dashes or (None, None),
        label=wrap_name(name, 30),
    )


def _find_limits(bands: list[Band]) -> tuple[float, float] | None:
    """Return limits that fit all means and bands after the first tenth of the epochs."""
    settled = [np.stack(band)[:, len(band[1]) // 10 :] for band in bands]
    means = np.concatenate([band[1] for band in settled]) if settled else np.zeros(0)
    lowest = means[means > 0].min(initial=np.inf)
    highest = max((float(np.nanquantile(band[1], 0.97)) for band in settled), default=0.0)
    return (lowest * 0.7, highest * 1.4) if 0 < lowest <= highest else None


def _are_positive(bands: dict[str, Band | None]) -> bool:
    return all((band[1] > 0).all() for band in bands.values() if band)


def _compute_band(record: Record, method: str) -> Band | None:
    """Return low, mean and high of the validation error per epoch; equal for a single run."""
    runs = [list(r.curve.val_value) for r in record.of(method) if r.status == "finished"]
    length = max(map(len, runs), default=0)
    if length == 0:
        return None
    padded = [run + run[-1:] * (length - len(run)) for run in runs]
    values = np.array(padded, dtype=np.float64)
    if np.isnan(values).all():
        return None
    estimates = [t_interval(column, overlap=record.overlap) for column in values.T]
    mean = np.array([e.mean for e in estimates])
    low = np.array([e.mean if e.low is None else e.low for e in estimates])
    high = np.array([e.mean if e.high is None else e.high for e in estimates])
    measure, scale = record.data.measure, _scale(record)
    if measure.percent:  # keep intervals within the possible range
        low, high = low.clip(0, 1), high.clip(0, 1)
    return scale * low, scale * mean, scale * high


def _scale(record: Record) -> float:
    """Return the factor by which to multiply values for display: 100 for per cent, otherwise 1."""
    return 100.0 if record.data.measure.percent else 1.0


def _scale_ends(estimate: Estimate, scale: float) -> list[float]:
    """Return the bounds of the interval, if there is one; percentages are limited to 0 and 100."""
    ends = [scale * end for end in (estimate.low, estimate.high) if end is not None]
    return [min(max(end, 0.0), 100.0) for end in ends] if scale == 100 else ends


def _name_measure(record: Record, rows: str) -> str:
    return f"{rows} {name_unit(record)}"

"""Draw the critical-difference diagram: mean ranks on a line, joined if they do not differ."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dropkit.study.analysis.sets import MethodOverSets, SetsAnalysis
from dropkit.study.report.figures import COLOURS, INK, make_panels
from dropkit.study.report.wrapping import wrap_name

_SIZE = 10


def draw_ranks(found: SetsAnalysis) -> Figure:
    """Draw mean ranks over the data sets (1 is the best) with Nemenyi's critical difference.

    Bars join methods whose mean ranks differ by less than the critical difference.

    Reference: Demšar (2006).
    """
    summaries = found.summaries
    groups = find_groups(summaries, found.critical_difference)
    top = 1.0 + 0.35 * len(groups)
    half = -(-len(summaries) // 2)
    figure, (axes,) = make_panels(6.4, 1.1 + 0.3 * (half + len(groups)))
    axes.set_xlim(0.6, len(summaries) + 0.4)
    axes.set_ylim(-top - 0.75 * half, 1.2)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.plot([1, len(summaries)], [0, 0], color=INK, linewidth=1.2)
    for place in range(1, len(summaries) + 1):
        axes.plot([place, place], [0, 0.18], color=INK, linewidth=1.2)
        axes.text(place, 0.26, f"{place}", ha="center", va="bottom", color=INK, fontsize=_SIZE)
    _draw_methods(axes, summaries, found.baseline, top, half)
    for level, (first, last) in enumerate(groups):
        low, high = summaries[first].rank - 0.04, summaries[last].rank + 0.04
        height = -0.4 - 0.35 * level
        axes.plot([low, high], [height] * 2, color=COLOURS[0], linewidth=3.4)
    if found.critical_difference is not None:
        _draw_distance(axes, found.critical_difference)
    return figure


def find_groups(
    summaries: tuple[MethodOverSets, ...], distance: float | None
) -> list[tuple[int, int]]:
    """Return the longest groups of neighbouring ranks within ``distance``, as index pairs."""
    if distance is None:
        return []
    groups: list[tuple[int, int]] = []
    for first, best in enumerate(summaries):
        close = [i for i, each in enumerate(summaries) if each.rank - best.rank < distance]
        last = max(close)
        if last > first and not any(last <= end for _, end in groups):
            groups.append((first, last))
    return groups


def _draw_methods(
    axes: Axes, summaries: tuple[MethodOverSets, ...], baseline: str, top: float, half: int
) -> None:
    """Write the better half on the left, the worse half on the right, and the extremes on top."""
    for place, summary in enumerate(summaries):
        left = place < half
        depth = place if left else len(summaries) - 1 - place
        height = -top - 0.75 * depth
        edge = 0.6 if left else len(summaries) + 0.4
        axes.plot([summary.rank, summary.rank, edge], [0, height, height], color=INK, linewidth=0.9)
        name = wrap_name(summary.method, 30).replace("\n", "")
        text = f"{name}  {summary.rank:.2f}" if left else f"{summary.rank:.2f}  {name}"
        axes.annotate(
            text,
            (edge, height),
            ha="left" if left else "right",
            va="bottom",
            color=INK,
            fontsize=_SIZE,
            fontweight="bold" if summary.method == baseline else "normal",
            parse_math=False,
        )


def _draw_distance(axes: Axes, distance: float) -> None:
    axes.plot([1, 1 + distance], [1, 1], color=INK, linewidth=1.2)
    for end in (1, 1 + distance):
        axes.plot([end, end], [0.9, 1.1], color=INK, linewidth=1.2)
    axes.text(
        1 + distance + 0.05,
        1,
        f"critical difference {distance:.2f}",
        ha="left",
        va="center",
        color=INK,
        fontsize=_SIZE,
    )

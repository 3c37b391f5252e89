"""The common style of all pictures of the paper's figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dropkit.study.report.figures import COLOURS, INK, MARKERS, make_panels

WITH, WITHOUT = COLOURS[0], COLOURS[1]  # dropout and no dropout, in every picture


def axes_of(width: float = 6.0, height: float = 4.0, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of panels in the project's style, on a white background."""
    figure, row = make_panels(width, height, 1, columns)
    figure.patch.set(alpha=1.0, facecolor="white")
    for axes in row:
        axes.grid(color=INK, alpha=0.12, linewidth=0.7)
    return figure, row


def line(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    name: str,
    *,
    colour: str,
    number: int = 0,
    spread: npt.ArrayLike | None = None,
) -> None:
    """Draw one curve; ``number`` selects its marker, ``spread`` is half the height of its band."""
    axes.plot(
        x,
        y,
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        markersize=4,
        markevery=max(1, len(x) // 12),
        linewidth=1.4,
        label=name,
    )
    if spread is not None:
        low, high = np.subtract(y, spread), np.add(y, spread)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


def legend(axes: Axes, columns: int = 1) -> None:
    """Draw the legend inside the panel, at the place with most room."""
    axes.legend(frameon=False, labelcolor=INK, fontsize=8, ncols=columns)


def grid_of(images: npt.NDArray[np.float32], columns: int) -> Figure:
    """Return a grid of small grey images, each scaled to its own range of values."""
    count, height, width = images.shape
    rows = -(-count // columns)
    low = images.min((1, 2), keepdims=True)
    span = images.max((1, 2), keepdims=True) - low
    scaled = (images - low) / np.where(span > 0, span, 1)
    page = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1), np.float32)
    for i, image in enumerate(scaled):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        page[top : top + height, left : left + width] = image
    figure = Figure(figsize=(5, 5 * page.shape[0] / page.shape[1]))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(page, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure

"""What the figures draw, read back from their artists."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from dropkit.study.analysis import Analysis
from dropkit.study.report import figures
from helpers.fabricated import make_analysis, make_run

LONG = "gaussian-dropout(p=0.5,input=0.2)+max-norm(c=3.5)+weight-decay(l2=0.0005)"
ERRORS = {"none": [0.2, 0.21, 0.22], "dropout+max-norm": [0.1, 0.11, 0.13], LONG: [0.2, 0.3, None]}


def bands(axes: Axes) -> list[PolyCollection]:
    return [found for found in axes.collections if isinstance(found, PolyCollection)]


def test_every_method_has_a_panel_with_its_band_and_the_baselines() -> None:
    figure = figures.draw_curves(make_analysis(ERRORS))
    assert [axes.get_title("left").replace("\n", "") for axes in figure.axes] == list(ERRORS)[1:]
    for axes in figure.axes:
        assert len(axes.lines) == len(bands(axes)) == 2
    assert len({axes.get_ylim() for axes in figure.axes}) == 1


def test_the_panel_of_one_method_has_the_axes_of_all() -> None:
    far = [make_run(LONG, seed, 0.3, val_loss=(9.0, 8.0, 7.0, 6.0, 5.0)) for seed in range(3)]
    analysis = make_analysis(ERRORS, runs=far)
    alone, together = (
        figures.draw_curve_panels(analysis)["dropout+max-norm"],
        figures.draw_curves(analysis),
    )
    assert len(alone.axes) == 1
    assert {axes.get_ylim() for axes in together.axes} == {alone.axes[0].get_ylim()}


def test_line_and_band_by_hand() -> None:
    # Validation errors of one epoch: 10, 20 and 30 %; s = 10, t(2) = 4.3027; the second epoch is
    # level, and has no width.
    runs = [make_run("l1", s, 0.1, val_loss=(v, 2.0)) for s, v in enumerate((1.0, 2.0, 3.0))]
    analysis = make_analysis({"none": [0.1] * 3, "l1": [0.1] * 3}, runs=runs)
    axes = figures.draw_curves(analysis).axes[0]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [20, 20])
    corners = bands(axes)[1].get_paths()[0].vertices
    half = 4.3027 * 10 / 3**0.5
    at_first = corners[corners[:, 0] == 1][:, 1]
    assert at_first.min() == 0  # 20 - half is below what an error can be
    assert at_first.max() == pytest.approx(20 + half, abs=1e-3)
    np.testing.assert_allclose(corners[corners[:, 0] == 2][:, 1], 20)


def test_a_seed_that_stopped_early_keeps_its_last_value() -> None:
    runs = [make_run("l1", 0, 0.1, val_loss=(1.0,)), make_run("l1", 1, 0.1, val_loss=(3.0, 2.0))]
    axes = figures.draw_curves(make_analysis({"none": [0.1] * 2, "l1": [0.1] * 2}, runs=runs)).axes[
        0
    ]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [20, 15])


def test_a_single_epoch_shows_its_marker_and_a_single_value_goes_on_level() -> None:
    one = [make_run(m, s, 0.1, val_loss=(2.0,)) for m in ("none", "l1") for s in range(2)]
    errors = {"none": [0.1] * 2, "l1": [0.1] * 2}
    figure = figures.draw_curves(make_analysis(errors, runs=one))
    assert [line.get_markevery() for line in figure.axes[0].lines] == [1, 1]
    lines = figures.draw_curves(make_analysis(errors, runs=one[2:])).axes[0].lines
    np.testing.assert_array_equal(lines[1].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(lines[1].get_ydata(), 20)


def test_a_method_that_always_diverged_says_so() -> None:
    axes = figures.draw_curves(make_analysis({"none": [0.1, 0.2], "l1": [None, None]})).axes[0]
    assert axes.get_title("left") == "l1\nno run finished"
    assert len(axes.lines) == 1


def test_final_errors_show_every_seed_and_the_interval() -> None:
    axes = figures.draw_errors(make_analysis(ERRORS)).axes[0]
    points = sorted(x for line in axes.lines if line.get_alpha() for x in line.get_xdata())
    np.testing.assert_allclose(points, [10, 11, 13, 20, 20, 21, 22, 30])
    ends = next(line.get_xdata() for line in axes.lines if line.get_linewidth() == 2.2)
    half = 4.3027 * 1.0 / 3**0.5  # of 20, 21, 22: s = 1
    np.testing.assert_allclose(ends, [21 - half, 21 + half], atol=1e-3)


def test_cost_is_a_multiple_of_the_baselines_time() -> None:
    runs = [make_run("l1", seed, 0.1, seconds=6.0) for seed in range(2)]
    axes = figures.draw_costs(make_analysis({"none": [0.2] * 2, "l1": [0.1] * 2}, runs=runs)).axes[
        0
    ]
    places = {line.get_label(): (line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines}
    assert places["baseline"] == pytest.approx((1, 20))
    assert places["l1"] == pytest.approx((3, 10))


@pytest.mark.parametrize("seconds", [2.0, 5.0, 0.1, 200.0, 900.0, 2e-3, 2e5])
def test_the_ticks_of_cost_keep_apart(seconds: float) -> None:
    runs = [make_run("l1", seed, 0.1, seconds=seconds) for seed in range(2)]
    figure = figures.draw_costs(make_analysis({"none": [0.2] * 2, "l1": [0.1] * 2}, runs=runs))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    ticks = [t for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert len(ticks) > 1
    boxes = [tick.label1.get_window_extent() for tick in ticks]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("draw", [figures.draw_curves, figures.draw_errors, figures.draw_costs])
@pytest.mark.parametrize(
    "analysis",
    [
        make_analysis(ERRORS),
        make_analysis({"none": [0.1, 0.2]} | {f"{LONG}{i}": [0.1, 0.1] for i in range(11)}),
        make_analysis({"none": [0.1, 0.2], "dropout(p=0.11)+max-norm(c=11)": [0.1, 0.2]}),
        make_analysis({"dropout(p=0.3,input=0.1)+max-norm(c=2)": [0.1, 0.2], "l1": [0.1, 0.2]}),
    ],
    ids=["three", "twelve long", "one", "a long baseline"],
)
def test_no_text_leaves_the_figure_or_meets_another(draw: object, analysis: Analysis) -> None:
    figure: Figure = draw(analysis)  # type: ignore[operator]
    figure.draw_without_rendering()
    page = figure.bbox
    for axes in figure.axes:
        texts = [t for t in (axes.title, axes._left_title, *axes.texts) if t.get_text()]
        boxes = [text.get_window_extent() for text in texts]
        for box in [*boxes, axes.xaxis.label.get_window_extent()]:
            assert box.x0 >= page.x0 - 1
            assert box.x1 <= page.x1 + 1
        boxes.sort(key=lambda box: -box.y0)
        assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert box.width <= page.width
        assert axes.get_window_extent().height > 150  # the legend leaves the plot its room

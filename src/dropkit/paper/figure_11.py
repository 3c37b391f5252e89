"""Figure 11: compare averaging k sampled nets with weight scaling."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import CLASSES, INPUTS, digits, error
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._train import authors, fit
from dropkit.paper._trainings import Trainings
from dropkit.prediction import predict

COUNTS = (1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 120)


def sampled_errors(
    *, hidden: list[int], updates: int, repeats: int, images: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net, and return its test errors in % for both kinds of averaging.

    Returns:
        ``scaled``: the error of weight scaling; ``sampled``: for every repeat and every k in
        `COUNTS`, the error of the mean probabilities of the first k sampled nets.
    """
    data = digits(data_dir)
    net = mlp((INPUTS, *hidden, CLASSES), p=0.5, p_input=0.2).to(data.x.device)
    for _ in fit(net, data.x, data.y, authors(updates), seed=0, at=(updates,)):
        pass
    x, y = data.x_test[:images], data.y_test[:images]
    wrong: list[list[int]] = [[0] * len(COUNTS) for _ in range(repeats)]
    with torch.random.fork_rng():
        for repeat in range(repeats):
            torch.manual_seed(repeat)
            # Process images in parts, because the samples of all images need much memory.
            for images_in, labels in zip(torch.split(x, 1000), torch.split(y, 1000), strict=True):
                drawn = predict(
                    net, images_in, max(COUNTS), task="classification", keep_samples=True
                )
                assert drawn.samples is not None
                for i, k in enumerate(COUNTS):
                    classes = drawn.samples[:k].mean(0).argmax(1)
                    wrong[repeat][i] += int((classes != labels).sum())
    sampled = [[100 * count / len(x) for count in counts] for counts in wrong]
    return {"scaled": error(net, x, y), "sampled": sampled}


def run(trainings: Trainings, **settings: Any) -> Outcome:
    """Train one net and compare the two kinds of averaging on the test images."""
    (found,) = trainings.all(sampled_errors, [settings])
    by_count = list(zip(*found["sampled"], strict=True))
    means = [statistics.fmean(errors) for errors in by_count]
    spread = [statistics.stdev(errors) for errors in by_count]
    scaled = found["scaled"]
    figure, (axes,) = axes_of(6.0, 4.0)
    line(axes, COUNTS, means, "mean of k sampled nets", colour=WITH, spread=spread)
    axes.axhline(scaled, color=WITHOUT, linewidth=1.4, linestyle="--", label="weight scaling")
    axes.set_xlabel("sampled nets averaged, k")
    axes.set_ylabel("test error, %")
    axes.set_ylim(min(*means, scaled) * 0.9, means[1] * 1.15)
    legend(axes)
    rows: list[Row] = [
        {
            "k": float(k),
            "test error %": mean,
            "standard deviation": deviation,
            "less weight scaling, points": mean - scaled,
        }
        for k, mean, deviation in zip(COUNTS, means, spread, strict=True)
    ]
    curves = [
        Curve("Monte-Carlo averaging", "Monte Carlo", COUNTS, tuple(means)),
        Curve("weight scaling", "weight scaling", (COUNTS[0], COUNTS[-1]), (scaled, scaled)),
    ]
    at_50 = COUNTS.index(50)
    # With few images the standard deviation may be 0; use at least the error of one image.
    unit = max(spread[at_50], 100 / settings["images"])
    checks = [
        Check(
            "k = 50 less weight scaling, in standard deviations",
            (means[at_50] - scaled) / unit,
            "equal near k = 50 †",
            -2.0,
            2.0,
            full=True,
        ),
        Check(
            "k = 120 less weight scaling, points",
            means[-1] - scaled,
            "slightly below 0, within a standard deviation †",
            high=0.03,
            full=True,
        ),
    ]
    return Outcome(rows, checks, figure, curves)


EXPERIMENT = Experiment(
    name="figure-11",
    title="Averaging k sampled nets against weight scaling",
    source="Srivastava et al. 2014, figure 11",
    run=run,
    sizes={
        "quick": Size(
            "784-128-128-128-10 (the paper: 1024 units), 500 updates (1,000,000), 1,000 test "
            "images, 3 repeats.",
            {"hidden": [128] * 3, "updates": 500, "repeats": 3, "images": 1000},
        ),
        "short": Size(
            "784-1024-1024-1024-10, 5,000 updates (1,000,000) through the paper's schedules at "
            "two hundred times their pace, all test images, 3 repeats.",
            {"hidden": [1024] * 3, "updates": 5000, "repeats": 3, "images": 10_000},
        ),
        "medium": Size(
            "784-1024-1024-1024-10, 100,000 updates (1,000,000) through the paper's schedules at "
            "ten times their pace, all test images, 10 repeats.",
            {"hidden": [1024] * 3, "updates": 100_000, "repeats": 10, "images": 10_000},
        ),
        "full": Size(
            "784-1024-1024-1024-10, the paper's 1,000,000 updates, all test images, 10 repeats.",
            {"hidden": [1024] * 3, "updates": 1_000_000, "repeats": 10, "images": 10_000},
        ),
    },
)

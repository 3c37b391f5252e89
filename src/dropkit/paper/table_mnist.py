"""The table of MNIST results: each of its nets, trained as the paper says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import train_mlp
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of
from dropkit.paper._trainings import Settings, Trainings
from dropkit.study.report.figures import INK

DROP = {"p": 0.5, "p_input": 0.2}


@dataclass(frozen=True)
class Net:
    """One row of the table.

    ``band`` is what an independent re-run found, three of its spreads to either side. Where there
    was none it is around the paper's own number: ± 0.15 for the standard net, whose spread is
    larger, ± 0.09 for maxout.
    """

    name: str
    paper: str
    band: tuple[float, float]
    settings: Settings


NETS = (
    Net(
        "standard, logistic, 2×800",
        "1.60 †",
        (1.45, 1.75),
        {"hidden": [800] * 2, "activation": "Sigmoid", "max_norm": None},
    ),
    Net(
        "dropout, logistic, 3×1024",
        "1.35 †; re-run 1.23 ± .03",
        (1.14, 1.32),
        {"hidden": [1024] * 3, "activation": "Sigmoid", "max_norm": None, **DROP},
    ),
    Net(
        "dropout, ReLU, 3×1024",
        "1.25 †; re-run 1.19 ± .02",
        (1.13, 1.25),
        {"hidden": [1024] * 3, "max_norm": None, "lr": 0.3, **DROP},
    ),
    Net(
        "dropout + max-norm, ReLU, 3×1024",
        "1.06 †; re-run 1.05 ± .03",
        (0.96, 1.14),
        {"hidden": [1024] * 3, "max_norm": 2.0, **DROP},
    ),
    Net(
        "dropout + max-norm, ReLU, 3×2048",
        "1.04 ‡; re-run 1.07 ± .02",
        (1.01, 1.13),
        {"hidden": [2048] * 3, "max_norm": 2.0, **DROP},
    ),
    Net(
        "dropout + max-norm, ReLU, 2×4096",
        "1.01 †; re-run 1.03 ± .02",
        (0.97, 1.09),
        {"hidden": [4096] * 2, "max_norm": 2.0, **DROP},
    ),
    Net(
        "dropout + max-norm, ReLU, 2×8192",
        "0.95 †; re-run 0.99 ± .02",
        (0.93, 1.05),
        {"hidden": [8192] * 2, "max_norm": 2.0, **DROP},
    ),
    Net(
        "dropout + max-norm, maxout, 2×(5×240)",
        "0.94 †",
        (0.85, 1.03),
        {"hidden": [240] * 2, "pieces": 5, "max_norm": 2.0, **DROP},
    ),
)


def run(
    trainings: Trainings, *, scale: float, widest: int, updates: int, data_dir: str | None
) -> Outcome:
    """Train the nets of the table.

    Args:
        trainings: carries them out.
        scale: of the widths.
        widest: nets with wider layers, in the paper, are left out.
        updates: of each.
        data_dir: the folder with the data sets.
    """
    chosen = [net for net in NETS if max(net.settings["hidden"]) <= widest]
    settings: list[dict[str, Any]] = [
        net.settings
        | {"hidden": [max(8, round(scale * width)) for width in net.settings["hidden"]]}
        | {"updates": updates, "data_dir": data_dir}
        for net in chosen
    ]
    # The widest come first: at the end, one of them would leave the other cores idle.
    order = sorted(range(len(chosen)), key=lambda i: -max(settings[i]["hidden"]))
    results = trainings.all(train_mlp, [settings[i] for i in order])
    by_place = dict(zip(order, results, strict=True))
    found = [by_place[i] for i in range(len(chosen))]
    rows: list[Row] = [
        {
            "net": net.name,
            "hidden units": "-".join(map(str, each["hidden"])),
            "test error %": result["error"][-1],
            "training error %": result["train_error"],
            "paper": net.paper,
        }
        for net, each, result in zip(chosen, settings, found, strict=True)
    ]
    checks = [
        Check(f"{net.name}, test error %", result["error"][-1], net.paper, *net.band, full=True)
        for net, result in zip(chosen, found, strict=True)
    ]
    figure, (axes,) = axes_of(6.4, 0.9 + 0.5 * len(chosen))
    places = -np.arange(len(chosen), dtype=float)
    for net, place, result in zip(chosen, places, found, strict=True):
        colour = WITH if "dropout" in net.name else WITHOUT
        axes.plot(net.band, [place] * 2, color=INK, alpha=0.35, linewidth=6)
        axes.plot(result["error"][-1], place, "o", color=colour, markersize=8)
        axes.annotate(
            net.name,
            (0, place + 0.2),
            xycoords=("axes fraction", "data"),
            color=INK,
            fontsize=9,
            verticalalignment="bottom",
        )
    axes.set_ylim(places[-1] - 0.4, 0.7)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("test error, %; grey: the band of the paper's protocol")
    return Outcome(rows, checks, figure)


LEFT_OUT = (
    "Nets pre-trained as deep Boltzmann machines and the support vector machine are left out."
)
SETTINGS = (
    "All by the first author's schedules from a learning rate of 1, 0.3 for ReLU without max-norm; "
    "the paper's own for each net are not known here."
)

EXPERIMENT = Experiment(
    name="table-mnist",
    title="Test error of the paper's nets on MNIST",
    source="Srivastava et al. 2014, table 2",
    run=run,
    sizes={
        "quick": Size(
            "A sixteenth of the paper's widths, without 2×8192, 600 updates (1,000,000), one seed. "
            f"Far too short to settle anything. {SETTINGS} {LEFT_OUT}",
            {"scale": 1 / 16, "widest": 4096, "updates": 600},
        ),
        "short": Size(
            "The paper's widths, without 2×4096 and 2×8192, 5,000 updates (1,000,000) through the "
            f"schedules at 200 times their pace, one seed. {SETTINGS} {LEFT_OUT}",
            {"scale": 1.0, "widest": 2048, "updates": 5000},
        ),
        "full": Size(
            f"The paper's widths and its 1,000,000 updates, one seed. {SETTINGS} {LEFT_OUT}",
            {"scale": 1.0, "widest": 8192, "updates": 1_000_000},
        ),
    },
)

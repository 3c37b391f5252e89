"""The table of MNIST results, with each net trained as in the paper."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from dropkit.errors import StudyError
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import DROP, DROPPED_AS_COMPARE, train_mlp
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of
from dropkit.paper._trainings import Settings, Trainings
from dropkit.study.analysis.stats import t_interval
from dropkit.study.report.figures import INK


@dataclass(frozen=True, eq=False)
class Net:
    """One row of the table.

    ``band`` is the result of an independent reproduction ± 3 standard deviations. For nets without
    a reproduction, ``band`` is the paper's number ± 0.15 for the standard net, which varies more,
    and ± 0.09 for maxout.
    """

    name: str
    paper: str
    band: tuple[float | None, float | None]
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

AUTHORS = (
    Net(
        "dropout + max-norm, ReLU, 2×1024, the first author's own settings",
        "about 1.2, said by its author",
        (1.1, 1.3),
        {"hidden": [1024] * 2, "protocol": "authors-dropout", "lr": 0.1, "max_norm": 2.0, **DROP},
    ),
    Net(
        "standard, ReLU, 2×1024, the first author's own settings",
        "not stated",
        (None, None),
        {
            "hidden": [1024] * 2,
            "protocol": "authors-plain",
            "lr": 0.01,
            "max_norm": None,
            "weight_decay": 0.001,
        },
    ),
)
"""The two nets for which the first author's own settings are known, 100,000 updates each."""

COMPARED = Net(
    "dropout + max-norm, ReLU, 2×1024, as dropkit compare trains",
    "1.06 † (3×1024, its own protocol)",
    (0.96, 1.14),
    {"hidden": [1024] * 2, **DROPPED_AS_COMPARE},
)
"""An additional row for a short training; its error is the mean of several nets."""


def run(
    trainings: Trainings,
    *,
    scale: float,
    widest: int,
    updates: int,
    compared_updates: int,
    seeds: int,
    author_updates: int = 0,
    author_seeds: int = 0,
    data_dir: str | None,
) -> Outcome:
    """Train the nets of the table.

    Args:
        trainings: runs the trainings.
        scale: factor of the widths.
        widest: nets whose layers in the paper are wider are omitted.
        updates: number of updates of each net of the paper.
        compared_updates: number of updates of the nets with the settings of `dropkit compare`.
        seeds: number of nets with the settings of `dropkit compare`.
        author_updates: number of updates of the two nets with the first author's settings.
        author_seeds: number of seeds of these two nets; 0 omits them.
        data_dir: the folder with the data sets.
    """
    lengths = [(net, updates, 1) for net in NETS if max(net.settings["hidden"]) <= widest]
    lengths += [(net, author_updates, author_seeds) for net in AUTHORS]
    lengths.append((COMPARED, compared_updates, seeds))
    asked: dict[tuple[Net, int], Settings] = {
        (net, seed): net.settings
        | {"hidden": [max(8, round(scale * width)) for width in net.settings["hidden"]]}
        | {"updates": length, "seed": seed, "data_dir": data_dir}
        for net, length, repeats in lengths
        for seed in range(repeats)
    }
    # Start with the widest nets, because at the end one of them would leave other cores idle.
    results = trainings.by_key(
        train_mlp, dict(sorted(asked.items(), key=lambda each: -max(each[1]["hidden"])))
    )
    found = {
        net: [results[net, seed] for seed in range(repeats) if (net, seed) in results]
        for net, _, repeats in lengths
    }
    found = {net: same for net, same in found.items() if same}
    if not found:
        raise StudyError("no net of the table is finished yet")
    errors = {net: fmean(each["error"][-1] for each in same) for net, same in found.items()}
    rows: list[Row] = [
        {
            "net": net.name,
            "hidden units": "-".join(map(str, asked[net, 0]["hidden"])),
            "updates": asked[net, 0]["updates"],
            "test error %": round(errors[net], 4),
            "of seeds": _spread([each["error"][-1] for each in same]),
            "training error %": fmean(each["train_error"] for each in same),
            "paper": net.paper,
        }
        for net, same in found.items()
    ]
    checks = [
        Check(
            f"{net.name}, test error %",
            round(error, 4),
            net.paper,
            *net.band,
            full=net not in AUTHORS,
        )
        for net, error in errors.items()
    ]
    figure, (axes,) = axes_of(6.4, 0.9 + 0.5 * len(found))
    places = -np.arange(len(found), dtype=float)
    for (net, error), place in zip(errors.items(), places, strict=True):
        colour = WITH if "dropout" in net.name else WITHOUT
        low, high = net.band
        if low is not None and high is not None:
            axes.plot([low, high], [place] * 2, color=INK, alpha=0.35, linewidth=6)
        axes.plot(error, place, "o", color=colour, markersize=8)
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


def _spread(errors: list[float]) -> str:
    """Format the number of seeds, and the mean over seeds with its 95 % interval."""
    found = t_interval(errors)
    if found.low is None or found.high is None:
        return f"{len(errors)}"
    return f"{len(errors)}: {found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


LEFT_OUT = (
    "Nets pre-trained as deep Boltzmann machines and the support vector machine are left out."
)
SETTINGS = (
    "All by the first author's schedules from a learning rate of 1, 0.3 for ReLU without max-norm; "
    "the paper's own for each net are unknown to us. The last row is ours: learning rate 0.05, "
    "falling linearly to 0, momentum 0.9, max-norm 3."
)
FIVE = "The last row is the mean of five seeds after 30,000 updates."

EXPERIMENT = Experiment(
    name="table-mnist",
    title="Test error of the paper's nets on MNIST",
    source="Srivastava et al. 2014, table 2",
    run=run,
    sizes={
        "quick": Size(
            "A sixteenth of the paper's widths, without 2×8192, 600 updates (1,000,000), one seed. "
            f"Far too short to settle anything. {SETTINGS} {LEFT_OUT}",
            {
                "scale": 1 / 16,
                "widest": 4096,
                "updates": 600,
                "compared_updates": 600,
                "seeds": 1,
            },
        ),
        "short": Size(
            "The paper's widths, without 2×4096 and 2×8192, 5,000 updates (1,000,000) through the "
            f"schedules at 200 times their pace, one seed. {SETTINGS} {FIVE} {LEFT_OUT}",
            {
                "scale": 1.0,
                "widest": 2048,
                "updates": 5000,
                "compared_updates": 30_000,
                "seeds": 5,
            },
        ),
        "medium": Size(
            "The paper's widths up to 1024, 100,000 updates (1,000,000). First the paper's nets, "
            "through its schedules at ten times their pace, one seed; then the first author's own "
            "two nets by their own settings, three seeds. The decay of their learning rate and the "
            "rise of their momentum are not known: they are those of his deeper net, over these "
            f"updates. {SETTINGS} {FIVE} {LEFT_OUT}",
            {
                "scale": 1.0,
                "widest": 1024,
                "updates": 100_000,
                "compared_updates": 30_000,
                "seeds": 5,
                "author_updates": 100_000,
                "author_seeds": 3,
            },
        ),
        "full": Size(
            f"The paper's widths and its 1,000,000 updates, one seed. {SETTINGS} {FIVE} {LEFT_OUT}",
            {
                "scale": 1.0,
                "widest": 8192,
                "updates": 1_000_000,
                "compared_updates": 30_000,
                "seeds": 5,
            },
        ),
    },
)

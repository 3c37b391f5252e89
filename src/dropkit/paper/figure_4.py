"""Figure 4: test error against updates for six architectures, with and without dropout."""

from __future__ import annotations

from itertools import product

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import train_mlp
from dropkit.paper._outcome import Check, Curve, Outcome
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._trainings import Trainings

DEPTHS = (2, 3, 4)
WAYS = {
    "dropout": {"p": 0.5, "p_input": 0.2, "lr": 1.0},
    "without dropout": {"p": 0.0, "p_input": 0.0, "lr": 0.3},
}


def run(
    trainings: Trainings, *, widths: list[int], updates: int, points: int, data_dir: str | None
) -> Outcome:
    """Train every architecture in both ways."""
    cases = [(way, (width,) * depth) for way, depth, width in product(WAYS, DEPTHS, widths)]
    settings = [
        {
            "hidden": list(hidden),
            "updates": updates,
            "max_norm": 2.0,
            "points": points,
            "data_dir": data_dir,
        }
        | WAYS[way]
        for way, hidden in cases
    ]
    found = trainings.all(train_mlp, settings)
    figure, (axes,) = axes_of(6.4, 4.4)
    curves, rows = [], []
    for (way, hidden), each in zip(cases, found, strict=True):
        name = f"{len(hidden)}×{hidden[0]}"
        curves.append(Curve(name, way, tuple(each["updates"]), tuple(each["error"])))
        rows.append(
            {
                "architecture": name,
                "training": way,
                "updates": updates,
                "test error %": each["error"][-1],
                "training error %": each["train_error"],
            }
        )
        colour = WITH if way == "dropout" else WITHOUT
        number = len(curves) % (len(cases) // 2)
        line(axes, each["updates"], each["error"], f"{name} {way}", colour=colour, number=number)
    axes.set_xlabel("weight updates")
    axes.set_ylabel("test error, %")
    finals = [curve.y[-1] for curve in curves]
    axes.set_ylim(min(finals) * 0.8, max(finals) * 2)
    legend(axes, columns=2)
    return Outcome(rows, _checks(curves), figure, curves)


def _checks(curves: list[Curve]) -> list[Check]:
    dropped = [curve for curve in curves if curve.group == "dropout"]
    plain = [curve for curve in curves if curve.group != "dropout"]
    lower = [d.y[-1] < w.y[-1] for d, w in zip(dropped, plain, strict=True)]
    second_half = [
        all(a < b for a, b in zip(d.y[len(d.y) // 2 :], w.y[len(w.y) // 2 :], strict=True))
        for d, w in zip(dropped, plain, strict=True)
    ]
    gap = min(w.y[-1] for w in plain) - max(d.y[-1] for d in dropped)
    return [
        Check("architectures that end lower with dropout", sum(lower), "6 of 6 †", 6, 6, full=True),
        Check(
            "architectures lower at every point of the second half",
            sum(second_half),
            "6 of 6 †",
            6,
            6,
            full=True,
        ),
        Check("points between the two clusters at the end", gap, "above 0 †", 0, full=True),
        Check(
            "worst final error with dropout, %",
            max(d.y[-1] for d in dropped),
            "about 1.0 to 1.3 †",
            0.9,
            1.4,
            full=True,
        ),
    ]


EXPERIMENT = Experiment(
    name="figure-4",
    title="Test error against updates, six architectures with and without dropout",
    source="Srivastava et al. 2014, figure 4; the article's figure of error curves",
    run=run,
    sizes={
        "quick": Size(
            "2, 3 and 4 hidden layers of 64 and 128 units (the paper: 1024 and 2048), 600 updates "
            "(1,000,000), one seed. Far too short to show what the figure shows.",
            {"widths": [64, 128], "updates": 600, "points": 6},
        ),
        "short": Size(
            "2, 3 and 4 hidden layers of 512 and 1024 units (the paper: 1024 and 2048), 20,000 "
            "updates (1,000,000) through the paper's schedules at fifty times their pace, one "
            "seed; max-norm 2 in all nets, and those without dropout at 0.3 times the learning "
            "rate, which serves them better.",
            {"widths": [512, 1024], "updates": 20_000, "points": 20},
        ),
        "full": Size(
            "The paper's protocol: 2, 3 and 4 hidden layers of 1024 and 2048 units, 1,000,000 "
            "updates, all 60,000 training images, one seed; max-norm 2 in all nets, and those "
            "without dropout at 0.3 times the learning rate (theirs is not known here).",
            {"widths": [1024, 2048], "updates": 1_000_000, "points": 100},
        ),
    },
)

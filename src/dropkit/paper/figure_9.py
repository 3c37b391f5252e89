"""Figure 9: error against the rate, at a fixed width and at a fixed number of kept units."""

from __future__ import annotations

from typing import Any

from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._mnist import AS_COMPARE, FEW, LIKE_COMPARE, ON_FEW, train_mlp
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._trainings import Settings, Trainings

KEEPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
PANELS = ("fixed n", "fixed keep·n")


def run(
    trainings: Trainings,
    *,
    width: int,
    kept: list[int],
    updates: int,
    keeps: tuple[float, ...] = KEEPS,
    shared: Settings | None = None,
    data_dir: str | None,
) -> Outcome:
    """Train the net at every rate twice: with fixed widths, and with a fixed number of kept units.

    Args:
        trainings: runs the trainings.
        width: width of the three hidden layers in the first panel.
        kept: number of units that each hidden layer of the second panel keeps on average.
        updates: number of updates of each net.
        keeps: probabilities of keeping a hidden unit.
        shared: further arguments of `train_mlp`.
        data_dir: the folder with the data sets.
    """
    widths = {(PANELS[0], keep): [width] * 3 for keep in keeps} | {
        (PANELS[1], keep): [round(units / keep) for units in kept] for keep in keeps
    }
    settings: list[dict[str, Any]] = [
        {"hidden": hidden, "updates": updates, "p": round(1 - keep, 2), "data_dir": data_dir}
        | (shared or {})
        for (_, keep), hidden in widths.items()
    ]
    found = dict(zip(widths, trainings.all(train_mlp, settings), strict=True))
    figure, panels = axes_of(9.0, 3.8, columns=2)
    curves, rows = [], []
    for axes, panel in zip(panels, PANELS, strict=True):
        for colour, part in ((WITH, "test"), (WITHOUT, "training")):
            values = [_error(found[panel, keep], part) for keep in keeps]
            curves.append(Curve(f"{part} error", panel, keeps, tuple(values)))
            line(axes, keeps, values, f"{part} error", colour=colour, number=len(curves) % 2)
        axes.set_title(panel, loc="left", fontsize=10)
        axes.set_xlabel("probability of keeping a hidden unit, 1 − p")
        axes.set_ylabel("error, %")
        axes.set_ylim(bottom=0)
        legend(axes)
    for (panel, keep), each in found.items():
        row: Row = {"widths chosen by": panel, "p": round(1 - keep, 2), "keep": keep}
        row |= {"hidden units": "-".join(map(str, widths[panel, keep]))}
        row |= {f"{part} error %": _error(each, part) for part in ("test", "training")}
        rows.append(row)
    return Outcome(rows, _checks(found, keeps), figure, curves)


def _error(result: dict[str, Any], part: str) -> float:
    value: float = result["error"][-1] if part == "test" else result["train_error"]
    return value


def _checks(
    found: dict[tuple[str, float], dict[str, Any]], keeps: tuple[float, ...]
) -> list[Check]:
    fixed, scaled = (
        {keep: _error(found[panel, keep], "test") for keep in keeps} for panel in PANELS
    )
    flat = [fixed[keep] for keep in keeps if 0.4 <= keep <= 0.8]
    best = min(keeps, key=lambda keep: scaled[keep])
    return [
        Check(
            "fixed n: range of the errors at keep 0.4 to 0.8, points",
            max(flat) - min(flat),
            "flat †",
            high=0.25,
            full=True,
        ),
        Check(
            "fixed n: error at keep 1 less the lowest at 0.4 to 0.8, points",
            fixed[1.0] - min(flat),
            "above 0 †",
            low=0.0,
            full=True,
        ),
        Check("fixed keep·n: keep with the lowest error", best, "near 0.6 †", 0.4, 0.8, full=True),
        Check("fixed keep·n: error at keep 0.1, %", scaled[0.1], "1.7 †", 1.5, 1.9, full=True),
        Check("fixed n: error at keep 0.1, %", fixed[0.1], "2.7 †", 2.3, 3.1, full=True),
    ]


EXPERIMENT = Experiment(
    name="figure-9",
    title="Error against the rate, at a fixed width and at a fixed number of kept units",
    source="Srivastava et al. 2014, figure 9",
    run=run,
    sizes={
        "quick": Size(
            "Widths 64-64-64 (the paper: 2048) and 32-32-64 kept units (256-256-512), 300 updates "
            "(1,000,000), one seed. Far too short to show what the figure shows.",
            {"width": 64, "kept": [32, 32, 64], "updates": 300},
        ),
        "short": Size(
            "Widths 512-512-512 (the paper: 2048) and 64-64-128 kept units (256-256-512), 5,000 "
            f"updates (1,000,000), one seed. {ON_FEW}. {LIKE_COMPARE}; max-norm 3.",
            {
                "width": 512,
                "kept": [64, 64, 128],
                "updates": 5000,
                "shared": AS_COMPARE | {"max_norm": 3.0, "rows": FEW},
            },
        ),
        "medium": Size(
            "Five rates; widths 2048-2048-2048 and 256-256-512 kept units as in the paper, 100,000 "
            "updates (1,000,000) through the paper's schedules at ten times their pace, one seed.",
            {
                "width": 2048,
                "kept": [256, 256, 512],
                "updates": 100_000,
                "keeps": (0.1, 0.4, 0.6, 0.8, 1.0),
            },
        ),
        "full": Size(
            "The paper's protocol: widths 2048-2048-2048 and 256-256-512 kept units, 1,000,000 "
            "updates, one seed.",
            {"width": 2048, "kept": [256, 256, 512], "updates": 1_000_000},
        ),
    },
)

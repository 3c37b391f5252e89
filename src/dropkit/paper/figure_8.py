"""Figure 8: how sparse the activations of an autoencoder are, without and with dropout."""

from __future__ import annotations

import statistics

import numpy as np

from dropkit.paper._autoencoder import SIZES, train_both
from dropkit.paper._experiment import Experiment
from dropkit.paper._outcome import Check, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend
from dropkit.paper._trainings import Trainings


def run(trainings: Trainings, *, units: int, updates: int, data_dir: str | None) -> Outcome:
    """Train both autoencoders and count the activations of their hidden units."""
    found = train_both(trainings, units, updates, data_dir)
    figure, (of_units, of_all) = axes_of(9.0, 3.8, columns=2)
    colours = {"without dropout": WITHOUT, "dropout": WITH}
    highest = max(max(each["unit_means"]) for each in found.values())
    rows: list[Row] = []
    for way, each in found.items():
        bins = np.linspace(0, highest, 41).tolist()
        of_units.hist(each["unit_means"], bins, color=colours[way], alpha=0.6, label=way)
        counts, edges = np.array(each["counts"]), np.array(each["edges"])
        shares = counts / counts.sum()
        of_all.stairs(shares, edges, color=colours[way], linewidth=1.6, label=way)
        rows.append(
            {
                "network": way,
                "mean activation": statistics.fmean(each["unit_means"]),
                "share of activations that are 0, %": 100 * each["zeros"],
            }
        )
    of_units.set_xlabel("mean activation of a hidden unit")
    of_units.set_ylabel("units")
    of_all.set_xlabel("activation of a hidden unit")
    of_all.set_ylabel("share of all activations in the bin")
    of_all.set_yscale("log")
    legend(of_units)
    legend(of_all)
    return Outcome(rows, _checks(rows), figure)


def _checks(rows: list[Row]) -> list[Check]:
    def of(row: Row, column: str) -> float:
        value = row[column]
        assert isinstance(value, float)
        return value

    without, dropout = rows
    mean, zero = "mean activation", "share of activations that are 0, %"
    return [
        Check(
            "mean activation, with dropout as a multiple of without",
            of(dropout, mean) / of(without, mean),
            "0.7 / 2.0 = 0.35 †",
            0.2,
            0.5,
            full=True,
        ),
        Check("mean activation without dropout", of(without, mean), "2.0 †", 1.5, 2.5, full=True),
        Check("mean activation with dropout", of(dropout, mean), "0.7 †", 0.5, 0.9, full=True),
        Check(
            "share of activations at 0 with dropout less without, points",
            of(dropout, zero) - of(without, zero),
            "a spike at 0 with dropout †",
            low=10.0,
            full=True,
        ),
    ]


EXPERIMENT = Experiment(
    name="figure-8",
    title="Sparsity of an autoencoder's activations, without and with dropout",
    source="Srivastava et al. 2014, figure 8",
    run=run,
    sizes=SIZES,
)

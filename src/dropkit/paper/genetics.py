"""Genetics: splice junctions in DNA, with and without dropout."""

from __future__ import annotations

from typing import Any

from dropkit.paper._domain import BASELINE, contest, protocol, rows_of, train_net
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Outcome
from dropkit.paper._trainings import Trainings


def train_genetics(
    *, way: str, seed: int, hidden: list[int], updates: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net; the seed also decides its validation rows, never the test rows."""
    rows = rows_of("dna", seed, data_dir)
    p, p_input = (0.0, 0.0) if way == BASELINE else (0.5, 0.2)
    net = mlp((*rows.inputs, *hidden, rows.outputs), p=p, p_input=p_input, seed=seed)
    return train_net(net, rows, protocol(way, updates), seed)


def run(
    trainings: Trainings, *, hidden: list[int], updates: int, seeds: int, **data: Any
) -> Outcome:
    """Compare the three ways."""
    settings = {"hidden": hidden, "updates": updates}
    paper = "below 0 (alternative splicing, bits: 440 early-stopped → 567) †"
    return contest(trainings, train_genetics, settings | data, seeds, paper)


EXPERIMENT = Experiment(
    name="genetics",
    title="Splice junctions in DNA, with and without dropout",
    source="Srivastava et al. 2014, section 6.4 (alternative splicing), on other data",
    run=run,
    sizes={
        "quick": Size(
            "Splice junctions of the mlbench package in place of alternative splicing; 64 hidden "
            "units (the paper: 1024), 300 updates, one seed.",
            {"hidden": [64], "updates": 300, "seeds": 1},
        ),
        "short": Size(
            "Splice junctions of the mlbench package in place of alternative splicing; one hidden "
            "layer of 1024 units as in the paper, 2,000 updates, ten seeds.",
            {"hidden": [1024], "updates": 2000, "seeds": 10},
        ),
        "full": Size(
            "Splice junctions of the mlbench package in place of alternative splicing; one hidden "
            "layer of 1024 units as in the paper, 20,000 updates, twenty seeds.",
            {"hidden": [1024], "updates": 20_000, "seeds": 20},
        ),
    },
)

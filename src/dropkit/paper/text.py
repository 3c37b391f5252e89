"""Text: topics of newsgroup posts from a bag of words, with and without dropout."""

from __future__ import annotations

from typing import Any

from dropkit.paper._domain import BASELINE, contest, protocol, rows_of, train_net
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Outcome
from dropkit.paper._trainings import Trainings


def train_text(
    *, way: str, seed: int, hidden: list[int], updates: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net on the official split."""
    rows = rows_of("20ng-bow", 0, data_dir)
    p, p_input = (0.0, 0.0) if way == BASELINE else (0.5, 0.2)
    net = mlp((*rows.inputs, *hidden, rows.outputs), p=p, p_input=p_input, seed=seed)
    return train_net(net, rows, protocol(way, updates), seed)


def run(
    trainings: Trainings, *, hidden: list[int], updates: int, seeds: int, **data: Any
) -> Outcome:
    """Compare the three ways."""
    settings = {"hidden": hidden, "updates": updates}
    paper = "below 0 (Reuters-RCV1: 31.05 → 29.62) †"
    return contest(trainings, train_text, settings | data, seeds, paper)


EXPERIMENT = Experiment(
    name="text",
    title="Topics of newsgroup posts from a bag of words, with and without dropout",
    source="Srivastava et al. 2014, section 6.3 (Reuters-RCV1), on other data",
    run=run,
    sizes={
        "quick": Size(
            "20 newsgroups in place of Reuters-RCV1, 2,000 words; 64-64 hidden units (the paper: "
            "2000-1000), 150 updates, one seed. Far too short to settle anything.",
            {"hidden": [64, 64], "updates": 150, "seeds": 1},
        ),
        "short": Size(
            "20 newsgroups in place of Reuters-RCV1, 2,000 words; 500-250 hidden units (the "
            "paper: 2000-1000), 3,000 updates, five seeds.",
            {"hidden": [500, 250], "updates": 3000, "seeds": 5},
        ),
        "full": Size(
            "20 newsgroups in place of Reuters-RCV1, 2,000 words; the paper's 2000-1000 hidden "
            "units, 100,000 updates, ten seeds.",
            {"hidden": [2000, 1000], "updates": 100_000, "seeds": 10},
        ),
    },
)

"""Speech: spoken digits from log-mel features, with and without dropout."""

from __future__ import annotations

from typing import Any

from torch import nn

from dropkit.paper._domain import BASELINE, contest, protocol, rows_of, train_net
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Outcome
from dropkit.paper._trainings import Trainings


def train_speech(
    *, way: str, seed: int, hidden: list[int], updates: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net on the official split."""
    rows = rows_of("fsdd", 0, data_dir)
    inputs = rows.x_train[0].numel()
    p, p_input = (0.0, 0.0) if way == BASELINE else (0.5, 0.2)
    net = mlp((inputs, *hidden, rows.outputs), p=p, p_input=p_input, seed=seed)
    return train_net(nn.Sequential(nn.Flatten(), *net), rows, protocol(way, updates, lr=0.1), seed)


def run(
    trainings: Trainings, *, hidden: list[int], updates: int, seeds: int, **data: Any
) -> Outcome:
    """Compare the three ways."""
    settings = {"hidden": hidden, "updates": updates}
    paper = "below 0 (TIMIT, 6 layers: 23.4 → 21.8) †"
    return contest(trainings, train_speech, settings | data, seeds, paper)


EXPERIMENT = Experiment(
    name="speech",
    title="Spoken digits from log-mel features, with and without dropout",
    source="Srivastava et al. 2014, section 6.2 (TIMIT), on other data",
    run=run,
    sizes={
        "quick": Size(
            "The Free Spoken Digit Dataset in place of TIMIT, its official split; 2 hidden layers "
            "of 64 units, 150 updates, one seed. Far too short to settle anything.",
            {"hidden": [64, 64], "updates": 150, "seeds": 1},
        ),
        "short": Size(
            "The Free Spoken Digit Dataset in place of TIMIT, its official split; 3 hidden layers "
            "of 512 units, 3,000 updates, five seeds.",
            {"hidden": [512, 512, 512], "updates": 3000, "seeds": 5},
        ),
        "full": Size(
            "The Free Spoken Digit Dataset in place of TIMIT, its official split; 6 hidden layers "
            "of 2048 units as in the paper, 100,000 updates, ten seeds.",
            {"hidden": [2048] * 6, "updates": 100_000, "seeds": 10},
        ),
    },
)

"""Text, speech and genetics: a fully connected net with and without dropout for each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from dropkit.paper._domain import BASELINE, DROPOUT, WAYS, contest, protocol, rows_of, train_net
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._nets import mlp
from dropkit.paper._outcome import Budget, Outcome
from dropkit.paper._train import Recipe, falling
from dropkit.paper._trainings import Trainings

MAX_NORM = "dropout, max-norm 3"
RECIPES = {"paper": list(WAYS), "compare": [BASELINE, DROPOUT, MAX_NORM]}
"""The ways to train by the paper's schedules, and by those of `dropkit compare`."""


@dataclass(frozen=True)
class Domain:
    """One of the paper's domains, on a freely available data set.

    Args:
        name: name on the command line.
        data: name of the data set that replaces the paper's.
        title: one line that describes the experiment.
        source: its place in the paper.
        paper: what the paper found on its own data.
        sizes: the `Size` of each budget.
        lr: learning rate of the paper's schedules, see `protocol`.
        compare_lr: learning rate that decreases linearly to 0 if a budget trains as in `dropkit
            compare`.
        split_by_seed: whether the seed also determines the split, for data without an official
            split.
    """

    name: str
    data: str
    title: str
    source: str
    paper: str
    sizes: dict[Budget, Size]
    lr: float = 1.0
    compare_lr: float = 0.05
    split_by_seed: bool = False


DOMAINS = (
    Domain(
        name="text",
        data="20ng-bow",
        title="Topics of newsgroup posts from a bag of words, with and without dropout",
        source="Srivastava et al. 2014, section 6.3 (Reuters-RCV1), on other data",
        paper="below 0 (Reuters-RCV1: 31.05 → 29.62) †",
        sizes={
            "quick": Size(
                "20 newsgroups in place of Reuters-RCV1, 2,000 words; 64-64 hidden units (the "
                "paper: 2000-1000), 150 updates, one seed. Far too short to settle anything.",
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
    ),
    Domain(
        name="speech",
        data="fsdd",
        title="Spoken digits from log-mel features, with and without dropout",
        source="Srivastava et al. 2014, section 6.2 (TIMIT), on other data",
        paper="below 0 (TIMIT, 6 layers: 23.4 → 21.8) †",
        lr=0.1,
        compare_lr=0.01,
        sizes={
            "quick": Size(
                "The Free Spoken Digit Dataset in place of TIMIT, its official split; 2 hidden "
                "layers of 64 units, 150 updates, one seed. Far too short to settle anything.",
                {"hidden": [64, 64], "updates": 150, "seeds": 1},
            ),
            "short": Size(
                "The Free Spoken Digit Dataset in place of TIMIT, its official split; 3 hidden "
                "layers of 512 units, 3,000 updates, five seeds. The paper's schedules need far "
                "more updates, so the nets train as in `dropkit compare`, with a learning rate of "
                "0.01 for all nets: with 0.05, nets with dropout do not learn.",
                {"hidden": [512, 512, 512], "updates": 3000, "seeds": 5, "recipe": "compare"},
            ),
            "full": Size(
                "The Free Spoken Digit Dataset in place of TIMIT, its official split; 6 hidden "
                "layers of 2048 units as in the paper, 100,000 updates, ten seeds.",
                {"hidden": [2048] * 6, "updates": 100_000, "seeds": 10},
            ),
        },
    ),
    Domain(
        name="genetics",
        data="dna",
        title="Splice junctions in DNA, with and without dropout",
        source="Srivastava et al. 2014, section 6.4 (alternative splicing), on other data",
        paper="below 0 (alternative splicing, bits: 440 early-stopped → 567) †",
        split_by_seed=True,
        sizes={
            "quick": Size(
                "Splice junctions of the mlbench package in place of alternative splicing; 64 "
                "hidden units (the paper: 1024), 300 updates, one seed.",
                {"hidden": [64], "updates": 300, "seeds": 1},
            ),
            "short": Size(
                "Splice junctions of the mlbench package in place of alternative splicing; one "
                "hidden layer of 1024 units as in the paper, 2,000 updates, ten seeds.",
                {"hidden": [1024], "updates": 2000, "seeds": 10},
            ),
            "full": Size(
                "Splice junctions of the mlbench package in place of alternative splicing; one "
                "hidden layer of 1024 units as in the paper, 20,000 updates, twenty seeds.",
                {"hidden": [1024], "updates": 20_000, "seeds": 20},
            ),
        },
    ),
)


def train_domain(
    *,
    domain: str,
    way: str,
    seed: int,
    hidden: list[int],
    updates: int,
    recipe: Recipe,
    data_dir: str | None,
) -> dict[str, Any]:
    """Train one net on all rows except the test rows."""
    (chosen,) = (each for each in DOMAINS if each.name == domain)
    rows = rows_of(chosen.data, seed if chosen.split_by_seed else 0, data_dir)
    p, p_input = (0.0, 0.0) if way == BASELINE else (0.5, 0.2)
    inputs = rows.x_train[0].numel()
    net = mlp((inputs, *hidden, rows.outputs), p=p, p_input=p_input, seed=seed)
    if recipe == "compare":
        how = falling(updates, lr=chosen.compare_lr, max_norm=3.0 if way == MAX_NORM else None)
    else:
        how = protocol(way, updates, lr=chosen.lr)
    return train_net(nn.Sequential(nn.Flatten(), *net), rows, how, seed)


def run(
    domain: Domain,
    trainings: Trainings,
    *,
    hidden: list[int],
    updates: int,
    seeds: int,
    recipe: Recipe = "paper",
    **data: Any,
) -> Outcome:
    """Compare training without dropout with two ways of training with dropout."""
    settings = {"domain": domain.name, "hidden": hidden, "updates": updates, "recipe": recipe}
    ways = {"ways": RECIPES[recipe]}
    return contest(trainings, train_domain, settings | ways | data, seeds, domain.paper)


EXPERIMENTS = tuple(
    Experiment(
        domain.name, domain.title, domain.source, partial(run, domain), domain.sizes, domain.data
    )
    for domain in DOMAINS
)

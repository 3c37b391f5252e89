"""Sentiment: classify film reviews with a small convolutional net, with and without dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dropkit.noise import Dropout
from dropkit.paper._domain import BASELINE, RECIPE, contest, train_on
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._outcome import Outcome
from dropkit.paper._train import authors
from dropkit.paper._trainings import Trainings
from dropkit.study.data import load_sst2

SPANS = (3, 4, 5)  # filter widths in words


class TextConv(nn.Module):
    """Return the maximum response of each filter over a sentence of word ids, (rows, length).

    Reference: Kim (2014), "Convolutional neural networks for sentence classification".
    """

    def __init__(self, words: int, dim: int, filters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, dim, padding_idx=0)
        self.filters = nn.ModuleList(nn.Conv1d(dim, filters, span) for span in SPANS)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids).transpose(1, 2)
        return torch.cat([conv(x).relu().amax(2) for conv in self.filters], 1)


def train_sentiment(
    *, way: str, seed: int, dim: int, filters: int, updates: int, data_dir: str | None
) -> dict[str, Any]:
    """Train one net on the official split."""
    data = load_sst2(None if data_dir is None else Path(data_dir))
    assert data.X_test is not None
    assert data.y_test is not None
    arrays = (data.X, data.y, data.X_test, data.y_test)
    x, y, x_test, y_test = (torch.from_numpy(a.astype(np.int64)) for a in arrays)
    protocol = authors(updates, lr=0.3, max_norm=3.0 if way == RECIPE else None)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        words = int(max(x.max(), x_test.max())) + 1
        layers: list[nn.Module] = [TextConv(words, dim, filters)]
        layers += [] if way == BASELINE else [Dropout(0.5)]
        net = nn.Sequential(*layers, nn.Linear(filters * len(SPANS), len(data.classes)))
    return train_on(net, (x, y), (x_test, y_test), protocol, seed)


def run(
    trainings: Trainings, *, dim: int, filters: int, updates: int, seeds: int, **data: Any
) -> Outcome:
    """Compare training without dropout, with dropout, and with the paper's recipe."""
    settings = {"dim": dim, "filters": filters, "updates": updates}
    paper = "below 0 (the paper has no such net)"
    return contest(trainings, train_sentiment, settings | data, seeds, paper)


EXPERIMENT = Experiment(
    name="sentiment",
    title="Sentences of film reviews through a small convolutional net, with and without dropout",
    source="Srivastava et al. 2014, section 6.3 (text), on other data and Kim's 2014 net",
    run=run,
    data="sst-2",
    sizes={
        "quick": Size(
            "SST-2; 16 numbers per word and 8 filters per width, 100 updates, one seed. Far too "
            "short to settle anything.",
            {"dim": 16, "filters": 8, "updates": 100, "seeds": 1},
        ),
        "short": Size(
            "SST-2, words from scratch; 50 numbers per word and 50 filters for each of 3, 4 and 5 "
            "words (Kim: 300 pre-trained numbers, 100 filters), 1,500 updates, three seeds; the "
            "recipe adds max-norm on the last layer.",
            {"dim": 50, "filters": 50, "updates": 1500, "seeds": 3},
        ),
        "full": Size(
            "SST-2, words from scratch; 300 numbers per word and 100 filters for each of 3, 4 and "
            "5 words, 20,000 updates, ten seeds.",
            {"dim": 300, "filters": 100, "updates": 20_000, "seeds": 10},
        ),
    },
)

"""A training function of a user's own that takes no time: what it returns depends on its run."""

from pathlib import Path
from textwrap import indent

HEAD = """
import os, sys
import numpy as np
import torch
from torch import nn
from dropkit import study

TARGETS = np.arange(40) % 2


def outcome(run, share):
    rng = np.random.default_rng([run.seed, len(run.method)])
    wrong = rng.random(len(TARGETS)) < share
    return study.Outcome(np.where(wrong, 1 - TARGETS, TARGETS), TARGETS)


def begin(run):
    model = run.regularize(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)))
    run.parameter_groups(model)
    model(torch.randn(4, 2))
    return model


def train(run):
"""

BODY = """
model = begin(run)
share = run.suggest("share", 0.1, 0.4, default=0.3)
for epoch in run.epochs(3):
    run.penalty(model)
    run.after_step(model)
    run.log(train_loss=1 / (epoch + 1), val_loss=share + 0.01 * len(run.method) + 0.1 ** epoch)
return outcome(run, 0.1 if "dropout" in run.method else share)
"""


def write_training(folder: Path, body: str = BODY) -> str:
    """Write ``train.py`` with this body of its function ``train``, and return its name."""
    file = folder / "train.py"
    file.write_text(HEAD + indent(body, "    "))
    return f"{file}:train"

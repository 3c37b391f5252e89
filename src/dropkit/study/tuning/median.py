"""The median rule: which trials of a tuning end early.

Reference: Golovin et al. 2017 (Vizier), whose median is over running averages; this is the form
of Optuna's ``MedianPruner``, which takes the losses themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropkit.study.record import Run


def limits(trials: Sequence[Run], epochs: int) -> tuple[float, ...]:
    """The limit of every epoch: the median validation loss that finished trials had after it.

    Those that were pruned or diverged do not count. A trial that stopped early by itself counts
    as far as it went. The last of ``epochs`` has no limit: nothing is spared after it.

    Args:
        trials: earlier trials of the same method, those of an ensemble by their first nets.
        epochs: the budget of a training.

    Returns:
        One loss per epoch from the first on, for as many as a finished trial has reached; empty
        if none has finished.
    """
    finished = (run.curve.pruning_loss for run in trials if run.status == "finished")
    curves = [[loss for loss in losses if loss is not None] for losses in finished]
    longest = max(map(len, curves), default=0)
    return tuple(
        float(np.percentile([curve[epoch] for curve in curves if len(curve) > epoch], 50))
        for epoch in range(min(longest, epochs - 1))
    )

"""Apply the median rule, which stops trials of tuning early.

Reference: Golovin et al. 2017 (Vizier). Vizier's median is over running averages; this
one is over the losses themselves, as in Optuna's ``MedianPruner``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dropkit.study.record import Run


def limits(trials: Sequence[Run], epochs: int) -> tuple[float, ...]:
    """Return a limit per epoch: the median validation loss of finished trials after that epoch.

    Pruned and diverged trials do not count. A trial that ended by early stopping counts up to its
    last epoch. The last epoch has no limit, because stopping after it saves nothing.

    Args:
        trials: earlier trials of the same method; of an ensemble, only the first network counts.
        epochs: number of epochs of a run.

    Returns:
        One loss per epoch, up to the last epoch that a finished trial reached; empty if no trial
        has finished.
    """
    finished = (run.curve.pruning_loss for run in trials if run.status == "finished")
    curves = [[loss for loss in losses if loss is not None] for losses in finished]
    longest = max(map(len, curves), default=0)
    return tuple(
        float(np.percentile([curve[epoch] for curve in curves if len(curve) > epoch], 50))
        for epoch in range(min(longest, epochs - 1))
    )

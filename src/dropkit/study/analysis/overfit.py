"""Does the baseline overfit? Only then can a regularizer be expected to help."""

from __future__ import annotations

from dropkit.study.analysis.stats import Estimate, t_interval
from dropkit.study.record.results import Results, Run

NEGLIGIBLE = 0.1


def excess_loss(results: Results) -> Estimate | None:
    """The baseline's test loss minus its training loss, as a share of its mean test loss."""
    runs = results.of(results.baseline)
    pairs = [(run.train.loss, run.test.loss) for run in runs if run.train and run.test]
    level = sum(test for _, test in pairs) / max(len(pairs), 1)
    return t_interval([(test - train) / level for train, test in pairs]) if level > 0 else None


def rising(runs: tuple[Run, ...]) -> list[tuple[int, int]]:
    """(best epoch, epochs) of the runs whose validation loss ended a tenth above its lowest."""
    losses = [[loss for loss in run.curve.val_loss if loss is not None] for run in runs]
    return [
        (values.index(min(values)) + 1, len(values))
        for values in losses
        if values and values[-1] > (1 + NEGLIGIBLE) * min(values)
    ]


def overfits(results: Results) -> bool:
    """Whether the baseline overfits, or may: false only where the seeds show that it does not.

    That is where the interval of its `excess_loss` lies below a tenth, and the validation loss of
    at most half the seeds ended a tenth above its lowest.
    """
    excess, runs = excess_loss(results), results.of(results.baseline)
    if excess is None or excess.high is None:
        return True
    return excess.high > NEGLIGIBLE or len(rising(runs)) > len(runs) / 2

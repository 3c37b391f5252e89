"""Check that the baseline has learned and overfits: only then can a regularizer help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from dropkit.study.analysis.stats import Estimate, estimate
from dropkit.study.record import Measure, Record, Run, Scores

NEGLIGIBLE = 0.1


@dataclass(frozen=True)
class Baseline:
    """Whether the baseline has learned, and whether it overfits.

    Attributes:
        value: mean of the measure on the test rows over finished runs; ``None`` if no run finished.
        is_constant: whether ``value`` is no better than the best constant prediction; false if
            unknown.
        has_learned: whether the baseline is better than a constant prediction on the test rows, or
            clearly better on the training rows; true if unknown.
        excess_loss: test loss minus training loss, as a share of the mean test loss.
        rises: (best epoch, epochs) of the runs whose last validation loss is a tenth above its
            minimum, sorted.
        overfits: false only if the seeds show that it does not overfit: the interval of
            ``excess_loss`` is below a tenth, and at most half of the runs are in ``rises``.
    """

    value: float | None
    is_constant: bool
    has_learned: bool
    excess_loss: Estimate | None
    rises: tuple[tuple[int, int], ...]
    overfits: bool


def examine_baseline(record: Record) -> Baseline:
    """Examine the runs of the baseline."""
    runs, data = record.of(record.baseline), record.data
    value = _average([run.test for run in runs])
    is_constant = _reaches(value, data.constant_value, data.measure, slack=1e-9)
    train = _average([run.train for run in runs])
    learned = not _reaches(train, data.constant_train_value, data.measure, slack=NEGLIGIBLE)
    excess, rises = _measure_excess(runs, record.overlap), tuple(sorted(_find_rises(runs)))
    unsure = excess is None or excess.high is None or excess.high > NEGLIGIBLE
    return Baseline(
        value=value,
        is_constant=is_constant,
        has_learned=learned or not is_constant,
        excess_loss=excess,
        rises=rises,
        overfits=unsure or len(rises) > len(runs) / 2,
    )


def _average(scores: Sequence[Scores | None]) -> float | None:
    values = [each.value for each in scores if each is not None]
    return fmean(values) if values else None


def _reaches(
    value: float | None, constant: float | None, measure: Measure, *, slack: float
) -> bool:
    """Return whether a value is at most a share ``slack`` better than a constant prediction's."""
    if value is None or constant is None:
        return False
    return measure.cost(value) >= measure.cost(constant) - slack * abs(constant)


def _measure_excess(runs: Sequence[Run], overlap: float) -> Estimate | None:
    scores = [(run.train, run.test) for run in runs if run.train and run.test]
    pairs = [
        (train.loss, test.loss)
        for train, test in scores
        if train.loss is not None and test.loss is not None
    ]
    level = sum(test for _, test in pairs) / max(len(pairs), 1)
    shares = [(test - train) / level for train, test in pairs] if level > 0 else []
    return estimate(shares, overlap=overlap)


def _find_rises(runs: Sequence[Run]) -> list[tuple[int, int]]:
    losses = [[loss for loss in run.curve.val_loss if loss is not None] for run in runs]
    return [
        (values.index(min(values)) + 1, len(values))
        for values in losses
        if values and values[-1] > (1 + NEGLIGIBLE) * min(values)
    ]

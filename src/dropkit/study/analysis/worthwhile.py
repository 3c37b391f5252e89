"""Choose the smallest difference that matters."""

from __future__ import annotations

from dropkit.study.record import Record

OF_ERROR, OF_DEVIATION = 0.1, 0.01


def choose_threshold(record: Record, baseline: float | None) -> float | None:
    """Return the smallest difference of the measure that matters; ``None`` if unknown.

    The difference is the study's ``worthwhile`` setting. By default it is a tenth of the baseline's
    error, or, for numbers, a hundredth of the metric of always predicting the mean. For the RMSE
    that is the target's standard deviation. If a higher metric is better, there is no default.
    """
    data = record.data
    given = record.study.get("worthwhile")
    if given is not None:
        return float(given) / (100 if data.measure.percent else 1)
    if data.measure.higher_is_better:
        return None
    if data.kind.has_probabilities and baseline:
        return OF_ERROR * baseline
    if data.kind.predicts == "numbers" and data.constant_value:
        return OF_DEVIATION * data.constant_value
    return None

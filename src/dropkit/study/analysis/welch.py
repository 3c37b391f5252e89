"""Compare runs that are not paired, by Welch's test."""

from __future__ import annotations

import numpy as np

from dropkit.study.analysis.effect import Effect
from dropkit.study.analysis.stats import Values, are_equal
from dropkit.study.record import Record


def measure_unpaired(values: Values, base: Values) -> Effect:
    """Measure the difference of two means; the variances of the samples may differ.

    The variance of the difference is s²ₓ/m + s²ᵧ/n, with sample variances s² and sample sizes m and
    n. The degrees of freedom are Satterthwaite's, but at most twice those of the smaller sample.
    Without this limit, 2 and 10 runs of equal methods give 10 % false claims; with it, 2.5 %.
    Samples of equal size are not affected. With a single value, or a sample of equal values, the
    variance is unknown.

    >>> effect = measure_unpaired([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    >>> effect.mean, round(effect.freedom, 2)
    (-2.0, 2.94)

    Reference: Welch (1947).
    """
    ours, theirs = (np.asarray(sample, dtype=np.float64) for sample in (values, base))
    mean, n = float(ours.mean() - theirs.mean()), min(len(ours), len(theirs))
    if n < 2 or any(are_equal(sample) for sample in (ours, theirs)):
        return Effect(mean, n, None)
    parts = [float(sample.var(ddof=1)) / len(sample) for sample in (ours, theirs)]
    weight = sum(p**2 / (len(x) - 1) for p, x in zip(parts, (ours, theirs), strict=True))
    freedom = min(sum(parts) ** 2 / weight, 2.0 * (n - 1))
    return Effect(mean, n, n * sum(parts), freedom=freedom)


def compare_unpaired(record: Record, method: str, other: str) -> Effect | None:
    """Compare the runs of two methods; return ``None`` if one has no finished runs."""
    ours, theirs = (
        [run.test.value for run in record.of(name) if run.test] for name in (method, other)
    )
    return measure_unpaired(ours, theirs) if ours and theirs else None

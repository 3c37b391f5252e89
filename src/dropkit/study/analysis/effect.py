"""Measure a mean difference and the parts of its variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dropkit.study.analysis.stats import are_equal


@dataclass(frozen=True)
class Effect:
    """The mean of paired differences, over seeds and test rows.

    Seeds and rows are crossed random effects. The variance of the mean is s²(seed means)/S + s²(row
    means)/R; their interaction is counted twice, so the estimate tends to be too large rather than
    too small (Owen 2007, "The pigeonhole bootstrap").

    Attributes:
        mean: of the differences.
        seeds: S, the number of pairs of runs.
        seed_variance: s² of the seeds' differences; ``None`` if it cannot be estimated: for one
            pair, and for differences that are all equal.
        row_variance: s²(row means)/R; ``None`` where the rows are not known.
        rows: R.
        freedom: degrees of freedom of ``seed_variance`` if runs are not paired; otherwise S − 1.
        overlap: test rows per training row, if every run is tested on different rows.
    """

    mean: float
    seeds: int
    seed_variance: float | None
    row_variance: float | None = None
    rows: int = 0
    freedom: float | None = None
    overlap: float = 0.0

    @property
    def share(self) -> float:
        """The factor from the seeds' variance to that of their mean: 1/S + overlap.

        Runs that are trained on overlapping rows are correlated, like the folds of a
        cross-validation (Nadeau and Bengio 2003, "Inference for the generalization error").
        """
        return 1 / self.seeds + self.overlap


def measure_effect(differences: npt.ArrayLike) -> Effect:
    """Measure the effect from differences of shape (seeds,) or (seeds, rows).

    >>> effect = measure_effect([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    >>> effect.mean, effect.seed_variance, round(effect.row_variance, 4)
    (0.375, 0.03125, 0.0573)
    """
    array = np.asarray(differences, dtype=np.float64)
    by_seed = array.mean(1) if array.ndim == 2 else array
    unknown = len(by_seed) < 2 or are_equal(by_seed)
    effect = Effect(
        float(by_seed.mean()), len(by_seed), None if unknown else float(by_seed.var(ddof=1))
    )
    if array.ndim == 1 or array.shape[1] < 2:
        return effect
    by_row, rows = array.mean(0), array.shape[1]
    return Effect(
        effect.mean, effect.seeds, effect.seed_variance, float(by_row.var(ddof=1) / rows), rows
    )

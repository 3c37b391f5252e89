"""Measure a mean difference and the parts of its variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dropkit.study.analysis.stats import are_equal


@dataclass(frozen=True)
class Effect:
    """The mean of paired differences, over seeds and test rows.

    Seeds and rows are crossed random effects. With S seeds and R rows, the variance of the mean is
    s²(seed means)/S + s²(row means)/R, where s² is a sample variance. It counts the interaction of
    seeds and rows twice, so it tends to be too large (Owen 2007, "The pigeonhole bootstrap").

    Attributes:
        mean: the mean of the differences.
        seeds: S, the number of pairs of runs.
        seed_variance: s² of the seeds' differences; ``None`` for a single pair or if all
            differences are equal, because it cannot be estimated then.
        row_variance: s²(row means)/R; ``None`` if row errors are unknown.
        rows: R, the number of test rows.
        row_freedom: degrees of freedom of ``row_variance``; ``None`` for R − 1.
        freedom: degrees of freedom of ``seed_variance`` if runs are not paired; otherwise S − 1.
        overlap: test rows per training row, if every run is tested on different rows.
    """

    mean: float
    seeds: int
    seed_variance: float | None
    row_variance: float | None = None
    rows: int = 0
    row_freedom: float | None = None
    freedom: float | None = None
    overlap: float = 0.0

    @property
    def share(self) -> float:
        """The factor from the variance of seeds to the variance of their mean: 1/S + overlap.

        Runs that are trained on overlapping rows are correlated, like the folds of a
        cross-validation. Their squared standard error is s²·(1/S + n_test/n_train), with n_test
        test rows, n_train training rows and S − 1 degrees of freedom (Nadeau and Bengio 2003,
        "Inference for the generalization error"; for several repetitions Bouckaert and Frank 2004,
        "Evaluating the replicability of significance tests").
        """
        return 1 / self.seeds + self.overlap


def count_freedom(values: npt.ArrayLike) -> float:
    """Return the degrees of freedom of a sample variance: 2/(κ/n + 2/(n − 1)), at most n − 1.

    Here n is the number of values and κ their excess kurtosis. The variance of the sample variance
    s² is σ⁴·(2/(n − 1) + κ/n). It is large if few values decide, for example the rows of a rare
    class for the AUC.

    >>> count_freedom([-1.0, 1.0, -1.0, 1.0]), round(count_freedom([0.0] * 99 + [1.0]), 1)
    (3.0, 2.1)
    """
    array = np.asarray(values, dtype=np.float64)
    n, square = len(array), (array - array.mean()) ** 2
    if n < 2 or not square.any():
        return float(n - 1)
    kurtosis = float((square**2).mean() / square.mean() ** 2) - 3
    return 2 / (max(kurtosis, 0.0) / n + 2 / (n - 1))


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

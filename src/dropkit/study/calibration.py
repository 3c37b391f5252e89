"""Measure how far a classifier's confidence is from its accuracy, without the bias of binning.

The usual expected calibration error is positive even for a perfectly calibrated network, because
the accuracy of a finite bin differs from its confidence by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dropkit.study.record import Miscalibration

FloatArray = npt.NDArray[np.float64]

BINS = 15
_FEWEST = 10  # rows per bin, if there are enough rows
_DRAWS = 500
_AT_ONCE = 1_000_000
_MOST = 20_000_000  # the largest number of random numbers to draw in total


def measure_calibration(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, simulate: bool = False
) -> Miscalibration | None:
    """Measure the squared calibration error, debiased, over bins of equally many rows.

    Let n be the number of rows, n_b the number of rows of bin b, and r_i = correct_i −
    confidence_i. In a bin, the mean of r_i·r_j over all pairs of different rows estimates the
    squared difference of accuracy and confidence. The bins are weighted by their numbers of rows;
    the inner sums run over the rows i of bin b:

    Σ_b (n_b/n) · ((Σr_i)² − Σr_i²) / (n_b(n_b − 1)).

    The square of a bin's mean difference, (Σr_i/n_b)², would also include the terms r_i², which are
    positive even for a calibrated network. Without these terms, the estimate for a calibrated
    network is 0 on average, so the estimate is often negative.

    Args:
        confidence: the probability of the predicted class, of shape (rows,).
        correct: 1 where the predicted class is right, else 0, of the same shape.
        simulate: whether to simulate the estimates of calibrated networks too: ``correct`` is then
            drawn with the probabilities ``confidence``.

    Returns:
        The estimate; ``None`` for fewer than two rows.

    Rows of equal confidence share a bin, so that their order in the data does not matter. Bins of a
    single row are left out.

    References: Roelofs et al. (2022), "Mitigating bias in calibration error estimation", for bins
    of equally many rows; Bröcker (2012), "Estimating reliability and resolution of probability
    forecasts through decomposition of the empirical score", and Kumar, Liang and Ma (2019),
    "Verified uncertainty calibration", for subtracting the bias. These two papers subtract the
    variance of ``correct`` within a bin, which equals the variance of r only if all confidences in
    the bin are equal.

    >>> measure_calibration([0.75] * 4, [1, 1, 0, 1]).squared  # 3 of 4 are right, as predicted
    -0.0625
    """
    sure = np.asarray(confidence, dtype=np.float64)
    right = np.asarray(correct, dtype=np.float64)
    if len(sure) < 2:
        return None
    order = np.argsort(sure, kind="stable")
    sure, right = sure[order], right[order]
    starts = _find_bins(sure)
    squared = float(_square_gaps((right - sure)[None], starts)[0])
    return Miscalibration(squared, _simulate(sure, starts) if simulate else None)


def _find_bins(sure: FloatArray) -> npt.NDArray[np.intp]:
    """Return the index of each bin's first row in the sorted confidences."""
    bins = max(1, min(BINS, len(sure) // _FEWEST))
    starts = (np.arange(bins) * len(sure)) // bins
    return np.unique(np.searchsorted(sure, sure[starts]))


def _square_gaps(gaps: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> FloatArray:
    """Return one estimate per draw, from the differences r of shape (draws, rows)."""
    counts = np.diff(starts, append=gaps.shape[1])
    sums, squares = (np.add.reduceat(each, starts, axis=1) for each in (gaps, gaps**2))
    # n_b/n · 1/(n_b(n_b − 1)); a bin of one row has no pairs: its sum is 0.
    weights = 1 / (gaps.shape[1] * np.maximum(counts - 1, 1))
    pairs = np.where(counts > 1, sums**2 - squares, 0.0)
    found: FloatArray = pairs @ weights
    return found


def _simulate(sure: FloatArray, starts: npt.NDArray[np.intp]) -> float:
    """Return the 95th percentile of the estimates of calibrated networks with these confidences."""
    rng, draws = np.random.default_rng(0), max(100, min(_DRAWS, _MOST // len(sure)))
    left, found = draws, []
    while left > 0:
        count = min(left, max(1, _AT_ONCE // len(sure)))
        found.append(_square_gaps((rng.random((count, len(sure))) < sure) - sure, starts))
        left -= count
    return float(np.quantile(np.concatenate(found), 0.95))

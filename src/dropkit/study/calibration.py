"""How far a classifier's confidence is from its accuracy, without the bias of binning.

The usual expected calibration error is positive for a perfectly calibrated net too: in a bin of n
rows, accuracy differs from confidence by chance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dropkit.study.record import Miscalibration

FloatArray = npt.NDArray[np.float64]

BINS = 15
_FEWEST = 10  # rows a bin, as far as there are so many
_DRAWS = 500
_AT_ONCE = 1_000_000
_MOST = 20_000_000  # numbers drawn in all


def measure_calibration(
    confidence: npt.ArrayLike, correct: npt.ArrayLike, *, simulate: bool = False
) -> Miscalibration | None:
    """Measure the squared calibration error, debiased, over bins of equally many rows.

    For r_i = correct_i − confidence_i of the n_b rows of bin b, the squared difference of accuracy
    and confidence is estimated by the mean of r_i·r_j over all pairs of different rows,

    Σ_b (n_b/n) · ((Σr_i)² − Σr_i²) / (n_b(n_b − 1)).

    The square of a bin's mean difference, (Σr_i/n_b)², would count r_i² too, which is positive
    however well calibrated the net is. The estimate is 0 on average for a calibrated net, so that
    it is negative about as often as positive.

    Args:
        confidence: the probability of the predicted class, of shape (rows,).
        correct: 1 where the predicted class is right, else 0, of the same shape.
        simulate: whether to draw what calibrated nets would show, too: ``correct`` is drawn with
            the probabilities ``confidence``.

    Returns:
        The estimate; ``None`` for less than two rows.

    Rows of equal confidence share a bin, or their order, which may follow the classes, would
    matter. Bins of a single row are left out.

    References: Roelofs et al. (2022), "Mitigating bias in calibration error estimation", for bins
    of equally many rows; Bröcker (2012), "Estimating reliability and resolution of probability
    forecasts through decomposition of the empirical score", and Kumar, Liang and Ma (2019),
    "Verified uncertainty calibration", for what is subtracted. They take the variance of
    ``correct`` within a bin, which is that of r only where all confidences of the bin are equal.

    >>> measure_calibration([0.75] * 4, [1, 1, 0, 1]).squared  # as often right as it says
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
    """Where bins start in sorted confidences."""
    bins = max(1, min(BINS, len(sure) // _FEWEST))
    starts = (np.arange(bins) * len(sure)) // bins
    return np.unique(np.searchsorted(sure, sure[starts]))


def _square_gaps(gaps: npt.NDArray[Any], starts: npt.NDArray[np.intp]) -> FloatArray:
    """The estimate for each line of differences, of shape (draws, rows)."""
    counts = np.diff(starts, append=gaps.shape[1])
    sums, squares = (np.add.reduceat(each, starts, axis=1) for each in (gaps, gaps**2))
    # n_b/n · 1/(n_b(n_b − 1)); the sum over the pairs of a single row is 0.
    weights = 1 / (gaps.shape[1] * np.maximum(counts - 1, 1))
    pairs = np.where(counts > 1, sums**2 - squares, 0.0)
    found: FloatArray = pairs @ weights
    return found


def _simulate(sure: FloatArray, starts: npt.NDArray[np.intp]) -> float:
    """The 95th percentile of what calibrated nets show that are as sure as this one."""
    rng, draws = np.random.default_rng(0), max(100, min(_DRAWS, _MOST // len(sure)))
    left, found = draws, []
    while left > 0:
        count = min(left, max(1, _AT_ONCE // len(sure)))
        found.append(_square_gaps((rng.random((count, len(sure))) < sure) - sure, starts))
        left -= count
    return float(np.quantile(np.concatenate(found), 0.95))

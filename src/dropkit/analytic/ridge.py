"""Linear regression with dropout on its features, in closed form."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from dropkit.analytic._rate import mask_variance


class DropoutRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Least squares with dropout on the features, in closed form.

    ``argmin_{w, b} E‖y − b − (X ⊙ ξ)w‖² = argmin ‖y − b − Xw‖² + v Σ_j w_j² Σ_i x_ij²`` with the
    mask ξ and its variance v = p/(1 − p). This is a ridge penalty on each weight, proportional to
    the sum of squares of the weight's column. Training with sampled masks converges to the same
    weights.

    Args:
        p: the probability of dropping a feature, in [0, 1).
        fit_intercept: whether to learn b, which is never dropped.

    Attributes:
        coef_: w, of shape (features,) or (targets, features).
        intercept_: b, a number or (targets,).
        n_features_in_: the number of features.

    As in training with masks, a dropped feature is 0. X is not centred first, so the weight of a
    column far from 0 is penalized strongly. If the value 0 of a feature has no meaning, subtract
    the feature's mean first. The scale of a feature does not change predictions. Columns of zeros
    get the weight 0. At p = 0 the minimum may not be unique; the result is the limit p → 0, the
    minimum with the smallest ``Σ_j w_j² Σ_i x_ij²``.

    Raises:
        ValueError: in ``fit``, if p lies outside [0, 1) or the data are not finite numbers.

    >>> import numpy as np
    >>> X, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 3.0])
    >>> DropoutRidge(p=0.0).fit(X, y).coef_.round(6)
    array([1.])
    >>> DropoutRidge(p=0.5).fit(X, y).coef_.round(6)
    array([0.125])

    Reference: Srivastava et al. (2014), section 9.1 (the weights in the paper equal
    ``coef_``/(1 − p)); Wager, Wang and Liang (2013), "Dropout training as adaptive
    regularization". Neither paper has an intercept; this class adds one.
    """

    def __init__(self, p: float = 0.5, *, fit_intercept: bool = True) -> None:
        self.p = p
        self.fit_intercept = fit_intercept

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Solve for the weights.

        Args:
            X: features, (rows, features).
            y: targets, (rows,) or (rows, targets).

        Returns:
            The estimator itself.
        """
        variance = mask_variance(self.p)
        rows, target = validate_data(
            self, X, y, dtype=np.float64, multi_output=True, y_numeric=True
        )
        target = np.asarray(target, np.float64)
        shift, middle = np.zeros(rows.shape[1]), np.zeros(target.shape[1:])
        if self.fit_intercept:
            shift, middle = rows.mean(0), target.mean(0)
        # Scale columns to length 1; then the penalty is v Σ_j w_j². The rank must not depend on v,
        # so that the result is continuous as p → 0.
        lengths = _lengths(rows)
        left, values, right = np.linalg.svd((rows - shift) / lengths, full_matrices=False)
        rank = np.count_nonzero(values > np.finfo(np.float64).eps * max(rows.shape))
        left, values, right = left[:, :rank], values[:rank], right[:rank]
        gains = values / (np.square(values) + variance)
        self.coef_ = ((right.T * gains) @ (left.T @ (target - middle))).T / lengths
        self.intercept_ = middle - self.coef_ @ shift
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return ``Xw + b``, of shape (rows,) or (rows, targets)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        predicted: NDArray[np.float64] = rows @ self.coef_.T + self.intercept_
        return predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the norm of each column without overflow; ∞ for zero columns, which get weight 0."""
    largest = np.abs(rows).max(0)
    largest[largest == 0] = 1.0
    lengths: NDArray[np.float64] = largest * np.linalg.norm(rows / largest, axis=0)
    lengths[lengths == 0] = np.inf
    return lengths

"""Logistic regression with dropout on its features, without sampling."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import OptimizeResult, minimize
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.nn import functional as F

from dropkit.analytic._rate import mask_variance
from dropkit.analytic._rules.activations import quadrature
from dropkit.analytic._rules.gaussian import Gaussian

Form = Literal["quadratic", "gaussian"]


def quadratic_penalty(x: Tensor, weights: Tensor, probabilities: Tensor, variance: float) -> Tensor:
    """Return the penalty that dropout adds to the loss of softmax regression, to second order.

    ``½ v Σ_i Σ_j x_ij² (Σ_k π_ik B_jk² − (Σ_k π_ik B_jk)²)``: half the variance of the logits under
    the mask, times the curvature of the loss. "Second order" refers to powers of ``x_ij B_jk``, the
    contribution of a feature to a logit. The penalty does not use labels.

    Args:
        x: features, (rows, features).
        weights: B, (features, classes).
        probabilities: π, (rows, classes).
        variance: v = p/(1 − p).

    Reference: Wager, Wang and Liang (2013), "Dropout training as adaptive regularization".
    """
    squares = x.square()
    inner = (probabilities * (squares @ weights.square())).sum()
    outer = (squares * (probabilities @ weights.T).square()).sum()
    return 0.5 * variance * (inner - outer)


def gaussian_loss(margin: Tensor, spread: Tensor) -> Tensor:
    """Return ``E log(1 + exp(−z))`` for normal z with mean ``margin`` and variance ``spread``.

    The result is computed by quadrature with 16 nodes. The error is below 1e-5 for standard
    deviations up to 2, and below 3e-4 up to 3. For larger standard deviations `softplus_mean` is
    more accurate, but it switches between two formulas, and a line search may stop at the switch.
    For a linear model this function is convex.

    Reference: Wang and Manning (2013), "Fast dropout training".
    """
    return quadrature(F.softplus, Gaussian(-margin, spread), fine=True).mean


class DropoutLogistic(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression with dropout on the features, for two or more classes.

    The estimator minimizes an approximation of the expected loss under dropout, averaged over the
    rows:

    - ``"quadratic"``: the loss plus ``½ v A''(x·β) Σ_j x_j² β_j²`` per row, where v = p/(1 − p), β
    are the weights and A'' is the curvature of the loss; for more than two classes, the
    corresponding form for softmax. This form is exact to second order in ``x_j β_j``, the
    contribution of a feature to a logit. So it is accurate for any p if each feature contributes
    little. The loss is not convex, and the penalty vanishes where every probability is 0 or 1;
    training starts with all weights at 0.
    - ``"gaussian"``: approximates the logit under dropout as normal, and integrates the loss by
    quadrature; two classes only. This form is accurate if many features contribute, because a sum
    of many masked features is nearly normal. The loss is convex, like the expected loss.

    Args:
        p: the probability of dropping a feature, in [0, 1).
        form: the approximation, ``"quadratic"`` or ``"gaussian"``.
        unlabelled_weight: the weight of an unlabelled row in the penalty, relative to a labelled
            row; above 0.
        max_iter: the maximum number of iterations of L-BFGS.
        tol: training stops when no element of the gradient of the mean loss exceeds ``tol``. For
            this gradient, each feature is divided by its largest absolute value. A fit that stops
            before this point gives a ConvergenceWarning.

    Attributes:
        coef_: (1, features) for two classes, otherwise (classes, features).
        intercept_: (1,) or (classes,); never dropped.
        classes_: the labels in order.
        n_iter_: iterations taken.
        n_features_in_: the number of features.

    A dropped feature is 0: standardize the features if the value 0 has no meaning. The scale of a
    feature does not change predictions.

    Raises:
        ValueError: in ``fit``, if an argument is out of range, the data are not finite numbers,
            there is only one class, or ``"gaussian"`` gets more than two classes or unlabelled
            rows.

    >>> import numpy as np
    >>> X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), np.array([0, 0, 1, 1])
    >>> model = DropoutLogistic(p=0.5, form="gaussian").fit(X, y)
    >>> model.predict([[-3.0], [3.0]]), bool(model.coef_[0, 0] < 5)
    (array([0, 1]), True)

    These classes are separable: without dropout, or with the quadratic form, the weight would grow
    until ``tol`` stops training.

    Reference: Wager, Wang and Liang (2013), "Dropout training as adaptive regularization"; Wang and
    Manning (2013), "Fast dropout training".
    """

    def __init__(
        self,
        p: float = 0.1,
        *,
        form: Form = "quadratic",
        unlabelled_weight: float = 1.0,
        max_iter: int = 1000,
        tol: float = 1e-6,
    ) -> None:
        self.p = p
        self.form = form
        self.unlabelled_weight = unlabelled_weight
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: ArrayLike, y: ArrayLike, X_unlabelled: ArrayLike | None = None) -> Self:
        """Train by L-BFGS in float64.

        Args:
            X: features, (rows, features).
            y: labels, (rows,).
            X_unlabelled: features of unlabelled rows, only used in the penalty R. The penalty is
                ``n/(n + a·m) · (R_labelled + a·R_unlabelled)`` for n labelled and m unlabelled
                rows, where a is ``unlabelled_weight``.

        Returns:
            The estimator itself.
        """
        variance = mask_variance(self.p)
        if self.form not in ("quadratic", "gaussian"):
            raise ValueError(f"form must be 'quadratic' or 'gaussian', got {self.form!r}")
        if not (math.isfinite(self.unlabelled_weight) and self.unlabelled_weight > 0):
            raise ValueError(
                f"unlabelled_weight must be a finite number above 0, got {self.unlabelled_weight}"
            )
        rows, labels = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(labels)
        self.classes_, index = np.unique(labels, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"y must hold two classes or more, got one class: {self.classes_[0]}")
        if self.form == "gaussian" and count > 2:
            raise ValueError(
                "Only binary classification is supported. "  # what scikit-learn's checks look for
                f"form='gaussian' takes two classes, got {count}; use form='quadratic'"
            )
        if self.form == "gaussian" and X_unlabelled is not None:
            raise ValueError(
                "form='gaussian' takes no rows without labels, got X_unlabelled; use "
                "form='quadratic'"
            )
        every = rows
        if X_unlabelled is not None:
            further = validate_data(self, X_unlabelled, dtype=np.float64, reset=False)
            every = np.vstack([rows, further])
        # Scale the columns for L-BFGS; x/s with weights sβ has the same loss. Scale by the maximum:
        # scaled by the root mean square, L-BFGS gives large weights to rare features of separable
        # classes.
        scale = np.abs(every).max(0)
        scale[scale == 0] = np.inf
        with torch.inference_mode(False), torch.enable_grad():
            found = self._minimize(every / scale, index, variance)
        self.n_iter_ = int(found.nit)
        theta = found.x.reshape(rows.shape[1] + 1, -1)
        self.coef_, self.intercept_ = theta[:-1].T / scale, theta[-1]
        steepest = np.abs(found.jac).max()
        if not steepest <= self.tol:
            only = "; for separable classes only form='gaussian' with p above 0 has a minimum"
            warnings.warn(
                f"not converged after {found.nit} iterations, the largest element of the gradient "
                f"is {steepest:.1e} ({found.message.strip(': ')}): standardize the features, or "
                f"raise max_iter, tol={self.tol} or p{only if self.form == 'quadratic' else ''}",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    def _minimize(
        self, every: NDArray[np.float64], index: NDArray[np.intp], variance: float
    ) -> OptimizeResult:
        """Minimize the mean loss; the first ``len(index)`` rows have labels."""
        features, target = torch.tensor(every, device="cpu"), torch.from_numpy(index)
        x, others = features[: len(index)], features[len(index) :]
        count = len(self.classes_)
        shape = (x.shape[1] + 1, 1 if count == 2 else count)

        def mean_loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            theta = torch.from_numpy(flat.reshape(shape)).requires_grad_()
            if self.form == "gaussian":
                value = _gaussian(x, target, theta, variance)
            else:
                value = self._quadratic(x, target, others, theta, variance)
            (slope,) = torch.autograd.grad(value, theta)
            return value.item(), slope.numpy().ravel()

        return minimize(
            mean_loss,
            np.zeros(math.prod(shape)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": self.max_iter, "gtol": self.tol, "ftol": 0.0, "maxfun": 10**9},
        )

    def _quadratic(
        self, x: Tensor, target: Tensor, others: Tensor, theta: Tensor, variance: float
    ) -> Tensor:
        loss = F.cross_entropy(_logits(x, theta), target)
        weights = _columns(theta[:-1])
        penalty = quadratic_penalty(x, weights, _logits(x, theta).softmax(1), variance)
        if len(others):
            a = self.unlabelled_weight
            guesses = _logits(others, theta).softmax(1)
            further = quadratic_penalty(others, weights, guesses, variance)
            share = len(x) / (len(x) + a * len(others))
            penalty = share * (penalty + a * further)
        return loss + penalty / len(x)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the logits, (rows, classes); for two classes, those of the second one, (rows,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        scores: NDArray[np.float64] = rows @ self.coef_.T + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probabilities of the classes without dropout, (rows, classes)."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], 1)
        probabilities: NDArray[np.float64] = torch.from_numpy(scores).softmax(1).numpy()
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[np.generic]:
        """Return the most probable class of each row."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        predicted: NDArray[np.generic] = self.classes_[index]
        return predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.form != "gaussian"
        return tags


def _columns(theta: Tensor) -> Tensor:
    """Return one column per class; for two classes, the first column is 0."""
    return torch.cat([torch.zeros_like(theta), theta], 1) if theta.shape[1] == 1 else theta


def _logits(x: Tensor, theta: Tensor) -> Tensor:
    return _columns(x @ theta[:-1] + theta[-1])


def _gaussian(x: Tensor, target: Tensor, theta: Tensor, variance: float) -> Tensor:
    sign = (2 * target - 1).to(x.dtype)
    margin = sign * (x @ theta[:-1] + theta[-1])[:, 0]
    spread = variance * (x.square() @ theta[:-1].square())[:, 0]
    return gaussian_loss(margin, spread).mean()

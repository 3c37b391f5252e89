"""Estimators for scikit-learn: multilayer perceptrons with dropout and uncertainty estimates.

Use them like scikit-learn's own estimators, also in pipelines and searches::

    make_pipeline(StandardScaler(), DropoutClassifier(p=0.5, max_norm=3.0)).fit(X, y)
"""

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor, nn

from dropkit.adapters._estimator import DropoutNet

__all__ = ["DropoutClassifier", "DropoutRegressor"]


class DropoutClassifier(ClassifierMixin, DropoutNet):  # type: ignore[misc]
    """A multilayer perceptron with dropout, for two or more classes.

    The loss is the cross-entropy. ``predict_proba`` is the mean over dropout masks,
    ``p̄(x) = Σₜ softmax(f(x, mₜ)) / T``, with the same T masks for every row and every call.

    Args:
        hidden_layer_sizes: the number of ReLU units in each hidden layer; ``()`` for a linear
            model.
        p: the probability of dropping a hidden unit; or a schedule such as
            ``linear(0.0, 0.5, steps=1000)``, counted in updates.
        input_p: the probability of dropping a feature.
        max_norm: the largest norm of a unit's incoming weights; no limit if None.
        learning_rate: the initial learning rate of AdamW; the rate decreases linearly to 0 during
            training.
        weight_decay: AdamW's weight decay; biases have none.
        epochs: passes over the training rows; None chooses between 20 and 1,000 epochs, for about
            3,000 updates.
        batch_size: rows for each update.
        validation_fraction: the fraction of rows to hold out, in [0, 1). The estimator keeps the
            weights of the epoch with the lowest loss on these rows, computed without dropout. If
            None, the estimator trains on all rows and keeps the last weights.
        samples: T, the number of masks for predictions, 2 or more. With 0, or if every rate is 0,
            the prediction is that of the mean network, which has all units.
        random_state: seed of initial weights, order of rows and masks. torch's global random state
            is neither used nor changed.

    Attributes:
        classes_: the labels, sorted.
        module_: the trained network, which returns logits, for example for
            ``dropkit.prediction.predict``.
        loss_curve_: the mean training loss of each epoch.
        validation_curve_: the loss on the held-out rows after each epoch.

    The network computes in float32 if X has float32, otherwise in float64. Standardize X, for
    example with ``StandardScaler`` in a pipeline.

    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> net = DropoutClassifier(epochs=100, random_state=0).fit(X, y)
    >>> net.score(X, y) > 0.9, net.predict_proba(X).shape
    (True, (200, 2))

    Reference: Srivastava et al. (2014), "Dropout", for the network; Gal & Ghahramani (2016),
    "Dropout as a Bayesian approximation", for the samples.
    """

    _target_checks: ClassVar[dict[str, bool]] = {}

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class probabilities, ``(examples, classes)``, in the order of ``classes_``."""
        x = self._inputs(X)
        return np.asarray(self._sample(x, "classification")[0])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row."""
        best = self.predict_proba(X).argmax(1)
        return np.asarray(self.classes_[best])

    def _encode(self, y: NDArray[Any], dtype: torch.dtype) -> tuple[Tensor, int]:
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            only = self.classes_.tolist()[0]
            raise ValueError(f"y must hold 2 classes or more, got one class: {only!r}")
        return torch.from_numpy(codes), len(self.classes_)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets)


class DropoutRegressor(RegressorMixin, DropoutNet):  # type: ignore[misc]
    """A multilayer perceptron with dropout, for one or more targets.

    The loss is the squared error of the standardized targets. ``predict`` is the mean over dropout
    masks, ``ȳ(x) = Σₜ f(x, mₜ) / T``, with the same T masks for every row and every call.

    Args:
        hidden_layer_sizes: this and all other parameters are the same as in `DropoutClassifier`.

    Attributes:
        module_: the trained network, which returns standardized targets.
        loss_curve_: the mean training loss of each epoch, for standardized targets.
        validation_curve_: the loss on the held-out rows after each epoch.

    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> net = DropoutRegressor((64,), p=0.05, epochs=100, random_state=0)
    >>> net = net.fit(X, np.sin(3 * X[:, 0]))
    >>> mean, std = net.predict([[0.0], [6.0]], return_std=True)
    >>> bool(std[1] > 2 * std[0])  # farther from the data, less certain
    True

    Reference: Srivastava et al. (2014), "Dropout", for the network; Gal & Ghahramani (2016),
    "Dropout as a Bayesian approximation", for the samples.
    """

    _target_checks: ClassVar[dict[str, bool]] = {"y_numeric": True, "multi_output": True}

    def predict(
        self, X: ArrayLike, return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the mean prediction of each row, and optionally its standard deviation over masks.

        Args:
            X: numbers, ``(examples, features)``.
            return_std: whether to also return the standard deviation over the masks, in the
                targets' unit. This deviation measures the uncertainty of the prediction and does
                not include the noise of the targets.

        Raises:
            ValueError: if ``return_std`` is true, but all rates or ``samples`` are 0.
        """
        x = self._inputs(X)
        if return_std and not self._drops():
            raise ValueError(
                "return_std=True needs masks to sample, but nothing drops; set samples to 2 or "
                "more, and p or input_p above 0"
            )
        shape = (-1, *self._center.shape)
        mean, variance = (t.double().numpy() for t in self._sample(x, "regression"))
        if return_std and not variance.any():
            warnings.warn(
                "no prediction for these rows depends on the masks, because no unit is active "
                "for them: every standard deviation is 0",
                stacklevel=2,
            )
        mean = self._center + self._scale * mean.reshape(shape)
        return (mean, self._scale * np.sqrt(variance).reshape(shape)) if return_std else mean

    def _encode(self, y: NDArray[Any], dtype: torch.dtype) -> tuple[Tensor, int]:
        self._center, scale = y.mean(0, dtype=np.float64), y.std(0, dtype=np.float64)
        self._scale = np.where(scale > 0, scale, 1.0)
        targets = torch.from_numpy((y - self._center) / self._scale).reshape(len(y), -1)
        return targets.to(dtype), targets.shape[1]

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs, targets)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

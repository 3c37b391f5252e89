"""Define the record of one run: its scores, curve and times."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Miscalibration:
    """The calibration error of a classifier: the difference of confidence and accuracy.

    ``squared`` estimates the mean squared difference without the bias of binning. The estimate is 0
    on average for a calibrated network, so it may be negative. ``by_chance`` is the 95th percentile
    of ``squared`` for calibrated networks with the same confidences; ``None`` if it was not
    computed.
    """

    squared: float
    by_chance: float | None = None

    @property
    def error(self) -> float:
        """The root of the mean squared difference; 0 if the estimate is negative.

        >>> Miscalibration(0.0009).error, Miscalibration(-0.0009).error
        (0.03, 0.0)
        """
        return math.sqrt(max(self.squared, 0.0))


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of fixed weights on one set of rows.

    ``loss`` is the mean negative log-likelihood in nats (classification) or the mean squared error
    of the standardized target (regression); ``None`` if a training reports none. ``value`` is the
    measure of the study, named by ``DataInfo.measure``; by default the error rate, or the root mean
    squared error in the target's own units. ``miscalibration`` is ``None`` for tasks other than
    classification. It is also ``None`` in older results, which hold a biased estimate instead.
    """

    loss: float | None
    value: float
    miscalibration: Miscalibration | None = None

    @property
    def known_loss(self) -> float:
        """The loss; NaN if there is none."""
        return math.nan if self.loss is None else self.loss


def finite(value: float | None) -> float | None:
    """Return the value, or ``None`` if it is not finite, as a `Curve` stores it.

    >>> finite(0.5), finite(math.inf)
    (0.5, None)
    """
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Curve:
    """Values per epoch; ``step`` counts parameter updates at the end of each epoch.

    A NaN or infinite loss is ``None``. ``first_net`` holds the validation losses of the first
    network of an ensemble; it is empty for a single network.
    """

    step: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    val_value: tuple[float | None, ...]
    first_net: tuple[float | None, ...] = ()

    @property
    def pruning_loss(self) -> tuple[float | None, ...]:
        """The validation losses that pruning uses; for an ensemble, those of its first network."""
        return self.first_net or self.val_loss


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds, in which even two equal runs differ.

    ``epochs`` holds the seconds of training, without evaluation, up to the end of each epoch.
    """

    seconds: float
    seconds_per_step: float
    epochs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One finished training of one method with one seed.

    With folds, every run has its own seed: repetition r and fold f, both numbered from 0, have the
    seed r · folds + f.

    Args:
        method: the method expression.
        seed: the seed of the run.
        status: ``"finished"``, ``"diverged"`` if the loss became NaN or infinite, or ``"pruned"``
            for a trial that was stopped early. Only finished runs have scores.
        steps: number of updates; for an ensemble, of all its members.
        selected_epoch: the epoch, from 1, whose weights were scored.
        arguments: the arguments of the method.
        curve: the values per epoch; for an ensemble, of the averaged prediction.
        train: the scores on training rows; ``None`` if a user's own training does not report them.
        val: the scores on validation rows; ``None`` as for ``train``.
        test: the scores on test rows.
        row_errors: the loss of every test row, as from `pack_rows`: 0 or 1 for a classification,
            the squared error in the target's own units for a regression.
        timing: the times.
        start: identifies the initial weights and the first batch of a user's own training; empty
            if unknown.
        predictions: the predictions for the test rows, as from `predictions.pack`. The record of a
            whole study stores them in a separate file.
        test_rows: number of test rows of the fold; ``None`` without folds.
        contributions: the contribution of every test row to a measure that is not an error of
            rows; see `dropkit.study.contributions`. ``None`` in older results.
    """

    method: str
    seed: int
    status: str
    steps: int
    selected_epoch: int
    arguments: dict[str, float]
    curve: Curve
    train: Scores | None
    val: Scores | None
    test: Scores | None
    row_errors: str | None
    timing: Timing
    start: str = ""
    predictions: str | None = None
    test_rows: int | None = None
    contributions: str | None = None

    @property
    def rows(self) -> str | None:
        """The errors of single test rows, or their contributions to the measure."""
        return self.contributions if self.row_errors is None else self.row_errors

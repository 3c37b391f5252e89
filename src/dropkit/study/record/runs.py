"""One training: its scores, its curve, its time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Miscalibration:
    """How far the confidence of a classifier is from its accuracy.

    ``squared`` estimates the mean squared difference, without the bias of binning: it is 0 on
    average for a calibrated net, and so may be negative. ``by_chance`` is what such a net with the
    same confidences stays below in 95 % of test sets; ``None`` where that was not asked for.
    """

    squared: float
    by_chance: float | None = None

    @property
    def error(self) -> float:
        """The root of the mean squared difference; 0 where the estimate is negative.

        >>> Miscalibration(0.0009).error, Miscalibration(-0.0009).error
        (0.03, 0.0)
        """
        return math.sqrt(max(self.squared, 0.0))


@dataclass(frozen=True, slots=True)
class Scores:
    """How well fixed weights do on one set of rows.

    ``loss`` is the mean negative log-likelihood in nats (classification) or the mean squared
    error of the standardised target (regression), ``None`` where a training reports none;
    ``value`` the study's measure: the misclassified fraction, the root mean squared error in the
    target's own units, or what ``DataInfo.measure`` names; ``miscalibration`` is ``None`` for other
    tasks than classification, and in older results, which have a biased estimate in its place.
    """

    loss: float | None
    value: float
    miscalibration: Miscalibration | None = None

    @property
    def known_loss(self) -> float:
        """The loss, NaN where there is none."""
        return math.nan if self.loss is None else self.loss


def finite(value: float | None) -> float | None:
    """The value as a `Curve` keeps it: ``None`` where it is not a number.

    >>> finite(0.5), finite(math.inf)
    (0.5, None)
    """
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Curve:
    """One value per epoch; ``step`` counts parameter updates at that epoch's end.

    A loss that became NaN or infinite is ``None``. ``first_net`` has the validation loss of an
    ensemble's first net alone, and is empty of a single net.
    """

    step: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    val_value: tuple[float | None, ...]
    first_net: tuple[float | None, ...] = ()

    @property
    def pruning_loss(self) -> tuple[float | None, ...]:
        """The validation losses that pruning goes by: those of the net that is trained first."""
        return self.first_net or self.val_loss


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds: nothing else in a result may differ between two equal runs.

    ``epochs`` has those of training alone, without evaluation, up to each epoch's end.
    """

    seconds: float
    seconds_per_step: float
    epochs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One finished training of one method with one seed.

    With folds every training has a seed of its own: that of repetition r and fold f, both from 0,
    is r · folds + f.

    ``status`` is ``"finished"``, ``"diverged"`` (the loss became NaN or infinite) or, of a trial
    alone, ``"pruned"``; the scores of the latter two are ``None``. ``selected_epoch`` is the epoch,
    from 1, whose weights were scored. ``row_errors`` holds the loss of every test row in order, as
    `pack_rows` writes it: 0 or 1 for a classified row, the squared error in the target's own units
    for a regression. ``contributions`` holds, of a measure that is no error of rows, what each row
    contributes to it (see `dropkit.study.contributions`), and is ``None`` in older results. An
    ensemble counts the steps of all its members; its curve is that of the averaged prediction.
    ``train`` is ``None`` where a user's own training says nothing of it, and so may ``val`` be;
    ``start`` then identifies the initial weights and the first batch, and is empty where they were
    not seen. ``test_rows`` counts the rows that a fold was tested on; without folds they are the
    same for every run. ``predictions`` are those for the test rows, as `predictions.pack` writes
    them; the record of a whole study has them in a file of their own.
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
        """What is known of the single test rows: their errors, or what they contribute."""
        return self.contributions if self.row_errors is None else self.row_errors

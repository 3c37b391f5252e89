"""Outputs of a network → its scores; and the average of several networks' outputs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dropkit.study.calibration import measure_calibration
from dropkit.study.methods.objective import loss_of
from dropkit.study.record import Scores


def score(
    outputs: Tensor, target: Tensor, task: str, scale: float = 1.0, *, simulate: bool = False
) -> tuple[Scores, npt.NDArray[np.float64]]:
    """Score a whole set of rows.

    Args:
        outputs: logits of shape (rows, classes), or predictions of shape (rows,) or (rows, 1).
        target: class indices, or standardised values, of shape (rows,).
        task: ``classification`` or ``regression``.
        scale: the target's standard deviation in its own units, for regression.
        simulate: whether to find out what calibrated nets would show; see `measure_calibration`.

    Returns:
        The scores, and one error per row: 0 or 1 for a classified row, the squared error in the
        target's own units for a regression.

    >>> scores, rows = score(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]),
    ...                      "classification")
    >>> scores.value, rows.tolist()
    (0.5, [0.0, 1.0])
    """
    outputs = outputs.double()
    loss = loss_of(outputs, target if task == "classification" else target.double(), task).item()
    if task == "regression":
        squared = (outputs.reshape(target.shape) - target.double()).square() * scale**2
        return Scores(loss, squared.mean().sqrt().item()), squared.numpy()
    confidence, predicted = outputs.softmax(1).max(1)
    wrong = (predicted != target).double()
    calibration = measure_calibration(confidence.numpy(), 1 - wrong.numpy(), simulate=simulate)
    return Scores(loss, wrong.mean().item(), calibration), wrong.numpy()


def average(outputs: Sequence[Tensor], task: str) -> Tensor:
    """Average predictions of several nets: of probabilities for classes, of values otherwise.

    Classification returns log-probabilities, which are logits again.
    """
    stacked = torch.stack([o.double() for o in outputs])
    if task == "regression":
        return stacked.mean(0)
    return stacked.log_softmax(2).logsumexp(0) - float(np.log(len(outputs)))

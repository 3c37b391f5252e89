"""Score the outputs of a network, and average the outputs of several networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dropkit.study.answers import answers_of
from dropkit.study.calibration import measure_calibration
from dropkit.study.record import Scores


def score(
    outputs: Tensor,
    target: Tensor,
    task: str,
    scale: float | Tensor = 1.0,
    *,
    simulate: bool = False,
) -> tuple[Scores, npt.NDArray[np.float64]]:
    """Score the outputs for a set of rows.

    Args:
        outputs: logits of shape (rows, classes) or (rows, labels), or predictions of shape (rows,)
            or (rows, targets).
        target: class indices or standardized values of shape (rows,), or labels or standardized
            values of shape (rows, targets).
        task: one of `dropkit.study.tasks.TASKS`.
        scale: the target's standard deviation in the units of the scores, for regression.
        simulate: whether to simulate calibrated networks; see `measure_calibration`.

    Returns:
        The scores, and one error per row: 0 or 1 for a class, the share of wrong labels, or the
        squared error in the units of the scores, averaged over the targets.

    >>> scores, rows = score(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]),
    ...                      "classification")
    >>> scores.value, rows.tolist()
    (0.5, [0.0, 1.0])
    """
    answers, outputs = answers_of(task), outputs.double()
    target = target.double() if target.is_floating_point() else target
    loss = answers.loss(outputs, target).item()
    if answers.decisions is None:
        squared = (outputs.reshape(target.shape) - target).square() * scale**2
        return Scores(loss, squared.mean().sqrt().item()), _mean_of_rows(squared)
    confidence, correct = answers.decisions(outputs, target)
    wrong = (~correct).double()
    calibration = measure_calibration(
        confidence.flatten().numpy(), 1 - wrong.flatten().numpy(), simulate=simulate
    )
    return Scores(loss, wrong.mean().item(), calibration), _mean_of_rows(wrong)


def _mean_of_rows(errors: Tensor) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = (errors if errors.dim() == 1 else errors.mean(1)).numpy()
    return means


def average(outputs: Sequence[Tensor], task: str) -> Tensor:
    """Average the predictions of several networks: probabilities, or values.

    Return log-probabilities for classes, logits of the mean probability for labels, or mean values.
    """
    return answers_of(task).average(torch.stack([o.double() for o in outputs]))

"""Interpret a network's outputs in each kind of task: loss, predictions, errors, averages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from dropkit.study.tasks import TASKS


@dataclass(frozen=True)
class Answers:
    """The functions that interpret a network's outputs, which have the shape (rows, outputs).

    Args:
        loss: maps outputs and targets to the mean loss.
        decisions: maps outputs and targets to two tensors: the confidence of each decision, and
            whether the decision is right. ``None`` for a regression.
        predict: maps outputs to log-probabilities of classes or labels; for a regression, returns
            the outputs unchanged.
        average: maps the stacked outputs of several networks to the outputs of their ensemble.
        constant: maps targets and the number of outputs to the best constant outputs, which are
            the same for every row.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    decisions: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    predict: Callable[[Tensor], Tensor]
    average: Callable[[Tensor], Tensor]
    constant: Callable[[Tensor, int], Tensor]


def answers_of(task: str) -> Answers:
    """Return the functions that interpret outputs in a task.

    >>> import torch
    >>> answers_of("multi-label").loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    return _ANSWERS[TASKS[task].predicts]


def _class_decisions(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    confidence, predicted = outputs.softmax(1).max(1)
    return confidence, predicted == target


def _label_decisions(outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return outputs.abs().sigmoid(), (outputs > 0) == (target > 0.5)


def _label_loss(outputs: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs, target.to(outputs.dtype))


def _average_classes(outputs: Tensor) -> Tensor:
    return outputs.log_softmax(2).logsumexp(0) - math.log(len(outputs))


def _average_labels(outputs: Tensor) -> Tensor:
    """Return the logit of the mean probability: log(mean of p) - log(mean of 1 - p)."""
    return F.logsigmoid(outputs).logsumexp(0) - F.logsigmoid(-outputs).logsumexp(0)


def _label_frequencies(target: Tensor, outputs: int) -> Tensor:
    shares = target.double().mean(0)
    return shares.log() - (1 - shares).log()


_ANSWERS = {
    "class": Answers(
        loss=F.cross_entropy,
        decisions=_class_decisions,
        predict=lambda outputs: outputs.log_softmax(1),
        average=_average_classes,
        constant=lambda target, outputs: target.bincount(minlength=outputs).double().log(),
    ),
    "labels": Answers(
        loss=_label_loss,
        decisions=_label_decisions,
        predict=F.logsigmoid,
        average=_average_labels,
        constant=_label_frequencies,
    ),
    "numbers": Answers(
        loss=lambda outputs, target: F.mse_loss(outputs.reshape(target.shape), target),
        decisions=None,
        predict=lambda outputs: outputs,
        average=lambda outputs: outputs.mean(0),
        constant=lambda target, outputs: target.mean(0, keepdim=True),
    ),
}

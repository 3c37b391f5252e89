"""Define the objectives that a training step minimizes, without the penalties on weights.

An objective is created once per run, from the network with its input layers and the loss. A call
with rows and targets returns the loss to report and the value to minimize.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.analytic._moments import (
    Gaussian,
    expected_cross_entropy,
    expected_squared_error,
    moments,
)
from dropkit.analytic.penalty import Task, explicit_penalty, implicit_noise, unitwise_layers
from dropkit.errors import StudyError
from dropkit.functional import forward_twice, r_drop_loss
from dropkit.study.answers import answers_of
from dropkit.study.inputs import AnyRows, Inputs
from dropkit.study.tasks import TASKS

Objective = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
Make = Callable[[nn.Module, "Loss"], Objective]


def logits_of(returned: Any) -> Any:
    """Return ``returned.logits`` if there are any, as in Hugging Face models; else ``returned``."""
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, Mapping):
        return returned.get("logits", returned)
    return getattr(returned, "logits", returned)


@dataclass(frozen=True)
class Loss:
    """The loss of outputs and targets.

    Args:
        task: the task, whose usual loss is reported; see `answers_of`.
        function: the function to minimize in place of the usual loss. It takes outputs and targets
            and, if ``weights`` is given, also ``weight``.
        weights: maps targets to ``weight``: one weight per class, or per label in each row.
    """

    task: str
    function: Callable[..., Tensor] | None = None
    weights: Callable[[Tensor], Tensor] | None = None

    @property
    def is_usual(self) -> bool:
        """Whether the reported loss is also minimized."""
        return self.function is None

    def __call__(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        reported = answers_of(self.task).loss(outputs, target)
        if self.function is None:
            return reported, reported
        if TASKS[self.task].predicts != "class":
            outputs = outputs.reshape(target.shape)
        if self.weights is None:
            return reported, self.function(outputs, target)
        return reported, self.function(outputs, target, weight=self.weights(target))


class Sampled:
    """The loss of one forward pass, with a random mask if the network has dropout."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        self.net, self.loss = net, loss

    def __call__(self, x: AnyRows, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss(logits_of(self.net(x)), y)


class Agreement:
    """The loss of two noisy passes, and ``alpha`` times the divergence between them."""

    def __init__(self, alpha: float, net: nn.Module, loss: Loss) -> None:
        if TASKS[loss.task].predicts != "class":
            raise StudyError(f"it compares the probabilities of classes, and this is {_name(loss)}")
        _check_usual(loss)
        self.alpha, self.net = alpha, net

    def __call__(self, x: AnyRows, y: Tensor) -> tuple[Tensor, Tensor]:
        parts = x.padded().parts if isinstance(x, Inputs) else {"": x}

        def run(*tensors: Tensor) -> Tensor:
            given = Inputs(dict(zip(parts, tensors, strict=True)))
            outputs: Tensor = logits_of(self.net(given if isinstance(x, Inputs) else tensors[0]))
            return outputs

        first, second = forward_twice(run, *parts.values())
        loss = F.cross_entropy(torch.cat([first, second]), torch.cat([y, y]))
        return loss, r_drop_loss(first, second, y, self.alpha)


class Expected:
    """The expected loss over all masks, from the mean and variance of every unit."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        _check_unsampled(net, "whose statistics come from passes that this method does not make")
        _check_usual(loss)
        self.twin, self.predicts = moments(net), TASKS[loss.task].predicts

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        output = self.twin(x)
        if self.predicts == "class":
            loss = expected_cross_entropy(output, y)
        elif self.predicts == "labels":  # each label is a class against the logit 0
            loss = expected_cross_entropy(_beside_zero(output), y.flatten().long())
        else:
            loss = expected_squared_error(output, y.view_as(output.mean))
        return loss, loss


def _beside_zero(output: Gaussian) -> Gaussian:
    pairs = (
        torch.stack([torch.zeros_like(part), part], -1).flatten(0, 1)
        for part in (output.mean, output.variance)
    )
    return Gaussian(*pairs)


class Explicit:
    """The loss without masks plus a penalty like dropout's; ``noise`` adds noise like dropout's.

    For classes, the penalty is estimated from one label per row, drawn from the network's own
    probabilities.
    """

    def __init__(self, noise: bool, net: nn.Module, loss: Loss) -> None:
        _check_unsampled(net, "which mixes rows, and the penalty needs every row by itself")
        _check_usual(loss)
        if TASKS[loss.task].predicts == "labels":
            raise StudyError(
                f"its penalty is for classes and for numbers, and this is {_name(loss)}"
            )
        self.noise, self.net, self.loss_of = noise, net, answers_of(loss.task).loss
        self.task: Task = "regression"
        if TASKS[loss.task].predicts == "class":
            self.task = "classification"
        self.layers = list(unitwise_layers(net))

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            layer.eval()
        loss = self.loss_of(self.net(x), y)
        is_regression = self.task == "regression"
        penalty = explicit_penalty(self.net, x, task=self.task, exact=is_regression)
        if y.dim() > 1:  # the penalty is a sum over outputs, the loss a mean
            penalty = penalty / y.shape[1]
        total = loss + penalty
        if self.noise:
            total = total + implicit_noise(self.net, x, lambda out: self.loss_of(out, y))
        return loss, total


def _name(loss: Loss) -> str:
    return str(TASKS[loss.task])


def _check_usual(loss: Loss) -> None:
    """Raise `StudyError` for a loss other than the one that the method is derived for."""
    if not loss.is_usual:
        raise StudyError(
            "it is only defined for cross-entropy and the squared error without class weights, but "
            "another loss or class weights were given; leave these out, or the method"
        )


def _check_unsampled(net: nn.Module, why_no_batch_norm: str) -> None:
    """Raise `StudyError` for layers that can only be trained by passes with masks."""
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            raise StudyError(f"{name} is a batch normalization, {why_no_batch_norm}")
        if "forward" in vars(module):
            raise StudyError(f"{name} is thinned by masks, and this method draws none")

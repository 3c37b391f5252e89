"""What a training step minimizes, beside the penalties on weights.

An objective is made once for a training, of the net with its input layers and the loss. Called
with rows and targets it returns the loss to report and what is to be minimized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dropkit.analytic._moments import expected_cross_entropy, expected_squared_error, moments
from dropkit.analytic.penalty import Kind, explicit_penalty, implicit_noise, unitwise_layers
from dropkit.errors import StudyError
from dropkit.functional import forward_twice, r_drop_loss
from dropkit.study.inputs import AnyRows, Inputs

Objective = Callable[[Any, Tensor], tuple[Tensor, Tensor]]
Make = Callable[[nn.Module, "Loss"], Objective]


def logits_of(returned: Any) -> Any:
    """Return the logits among what a model returns, as Hugging Face's do; else all of it."""
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, Mapping):
        return returned.get("logits", returned)
    return getattr(returned, "logits", returned)


def loss_of(outputs: Tensor, target: Tensor, task: str) -> Tensor:
    """The training loss: mean cross-entropy of logits, or mean squared error."""
    if task == "classification":
        return F.cross_entropy(outputs, target)
    return F.mse_loss(outputs.reshape(target.shape), target)


@dataclass(frozen=True)
class Loss:
    """What outputs and targets cost.

    Args:
        task: whose loss, `loss_of`, is reported.
        function: what is minimized in its place, of outputs and targets, and of the ``weight`` of
            every class if there are weights.
        weights: of the classes.
    """

    task: str
    function: Callable[..., Tensor] | None = None
    weights: Tensor | None = None

    @property
    def is_usual(self) -> bool:
        """Whether the loss that is reported is minimized as well."""
        return self.function is None

    def __call__(self, outputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        reported = loss_of(outputs, target, self.task)
        if self.function is None:
            return reported, reported
        if self.task == "regression":
            outputs = outputs.reshape(target.shape)
        if self.weights is None:
            return reported, self.function(outputs, target)
        return reported, self.function(outputs, target, weight=self.weights.to(outputs.device))


class Sampled:
    """The loss of one pass, with a mask if the net has dropout."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        self.net, self.loss = net, loss

    def __call__(self, x: AnyRows, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss(logits_of(self.net(x)), y)


class Agreement:
    """The loss of two noisy passes, and ``alpha`` times the divergence between them."""

    def __init__(self, alpha: float, net: nn.Module, loss: Loss) -> None:
        if loss.task != "classification":
            raise StudyError("it compares the probabilities of classes, and this is a regression")
        _check_usual(loss)
        self.alpha, self.net = alpha, net

    def __call__(self, x: AnyRows, y: Tensor) -> tuple[Tensor, Tensor]:
        parts = x.padded().parts if isinstance(x, Inputs) else {"": x}

        def run(*tensors: Tensor) -> Tensor:
            given = Inputs(dict(zip(parts, tensors, strict=True)))
            outputs: Tensor = logits_of(self.net(given if isinstance(x, Inputs) else tensors[0]))
            return outputs

        first, second = forward_twice(run, *parts.values())
        loss = loss_of(torch.cat([first, second]), torch.cat([y, y]), "classification")
        return loss, r_drop_loss(first, second, y, self.alpha)


class Expected:
    """The expected loss over all masks, from the mean and variance of every unit."""

    def __init__(self, net: nn.Module, loss: Loss) -> None:
        _check_unsampled(net, "whose statistics come from passes that this method does not make")
        _check_usual(loss)
        self.twin, self.task = moments(net), loss.task

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        output = self.twin(x)
        if self.task == "classification":
            loss = expected_cross_entropy(output, y)
        else:
            loss = expected_squared_error(output, y.view_as(output.mean))
        return loss, loss


class Explicit:
    """The loss of the whole net, what dropout adds to its expectation, and ``noise`` if asked.

    Over classes the penalty is estimated from one label a row, drawn from the net's own
    probabilities.
    """

    def __init__(self, noise: bool, net: nn.Module, loss: Loss) -> None:
        _check_unsampled(net, "which mixes rows, and the penalty needs every row by itself")
        _check_usual(loss)
        self.noise, self.net, self.task = noise, net, loss.task
        self.layers = list(unitwise_layers(net))

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            layer.eval()
        loss = loss_of(self.net(x), y, self.task)
        kind: Kind = "classification" if self.task == "classification" else "regression"
        total = loss + explicit_penalty(self.net, x, kind=kind, exact=kind == "regression")
        if self.noise:
            total = total + implicit_noise(self.net, x, lambda out: loss_of(out, y, self.task))
        return loss, total


def _check_usual(loss: Loss) -> None:
    """Raise `StudyError` for a loss of which the mathematics is not known."""
    if not loss.is_usual:
        raise StudyError(
            "it is worked out for cross-entropy or the squared error, and another loss or class "
            "weights were given; leave these out, or the method"
        )


def _check_unsampled(net: nn.Module, why_no_batch_norm: str) -> None:
    """Raise `StudyError` for what only passes with masks can train."""
    for name, module in net.named_modules():
        if isinstance(module, _BatchNorm):
            raise StudyError(f"{name} is a batch normalization, {why_no_batch_norm}")
        if "forward" in vars(module):
            raise StudyError(f"{name} is thinned by the masks of a pass, and this draws none")

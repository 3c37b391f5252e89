"""The paper's nets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from dropkit.noise import Dropout

Noise = Callable[[float], nn.Module]


class Maxout(nn.Module):
    """The largest of every ``pieces`` neighbouring inputs.

    ``y_j = max(x_{jk}, …, x_{jk + k − 1})``: behind a linear layer of ``units · pieces`` outputs,
    ``units`` maxout units, each the largest of ``pieces`` linear functions.

    Args:
        pieces: k, how many inputs a unit takes; at least 1.

    Shape: (…, units · pieces) → (…, units).

    Raises:
        ValueError: if ``pieces`` is below 1 or does not divide the last dimension.

    Reference: Goodfellow, Warde-Farley, Mirza, Courville and Bengio (2013), "Maxout networks".

    >>> Maxout(2)(torch.tensor([[1.0, 3.0, -2.0, -5.0]]))
    tensor([[ 3., -2.]])
    """

    def __init__(self, pieces: int) -> None:
        super().__init__()
        if pieces < 1:
            raise ValueError(f"pieces must be 1 or more, got {pieces}")
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] % self.pieces:
            raise ValueError(
                f"the last dimension must be a multiple of {self.pieces}, got {tuple(x.shape)}"
            )
        return x.reshape(*x.shape[:-1], -1, self.pieces).amax(-1)

    def extra_repr(self) -> str:
        return f"{self.pieces}"


def mlp(
    widths: Sequence[int],
    *,
    p: float = 0.0,
    p_input: float = 0.0,
    activation: Callable[[], nn.Module] = nn.ReLU,
    noise: Noise = Dropout,
    pieces: int = 1,
    initial: Literal["he", "torch"] = "he",
    seed: int = 0,
) -> nn.Sequential:
    """Return a fully connected net.

    Args:
        widths: of the inputs, the hidden layers and the outputs.
        p: probability of dropping a hidden unit; at 0 there are no such layers.
        p_input: probability of dropping an input.
        activation: of the hidden layers.
        noise: makes the layer that drops, from a rate.
        pieces: linear functions per hidden unit; more than 1 makes maxout units, without
            ``activation``.
        initial: what the weights are drawn from: ``"he"``, He et al.'s normal distribution, with
            biases of 0, or ``"torch"``, what ``nn.Linear`` has by itself. What the authors began
            with is not known here.
        seed: decides the weights.
    """
    layers: list[nn.Module] = [noise(p_input)] if p_input else []
    generator = torch.Generator().manual_seed(seed)
    last = len(widths) - 2
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        linear = nn.Linear(inputs, outputs * (pieces if i < last else 1))
        if initial == "he":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
        else:  # as nn.Linear.reset_parameters does, from a generator of our own
            for parameter in (linear.weight, linear.bias):
                nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
        layers.append(linear)
        if i < last:
            layers.append(Maxout(pieces) if pieces > 1 else activation())
            layers += [noise(p)] if p else []
    return nn.Sequential(*layers)

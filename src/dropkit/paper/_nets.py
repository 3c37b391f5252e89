"""The networks of the paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from dropkit.noise import Dropout

Noise = Callable[[float], nn.Module]


class Maxout(nn.Module):
    """Maxout layer: return the maximum of each group of ``pieces`` neighbouring inputs.

    ``y_j = max(x_{jk}, …, x_{jk + k − 1})``. After a linear layer with ``units · pieces`` outputs,
    this gives ``units`` maxout units, each the maximum of ``pieces`` linear functions.

    Args:
        pieces: k, the number of inputs of a unit; at least 1.

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
    """Return a fully connected network.

    Args:
        widths: numbers of inputs, of units in each hidden layer, and of outputs.
        p: probability of dropping a hidden unit; with 0 there are no dropout layers.
        p_input: probability of dropping an input.
        activation: creates the activation of a hidden layer.
        noise: creates a dropout layer from a rate.
        pieces: number of linear functions per hidden unit. More than 1 gives maxout units instead
            of ``activation``.
        initial: distribution of the initial weights: ``"he"`` is He et al.'s normal distribution
            with biases 0, ``"torch"`` the default of ``nn.Linear``. The authors' initialization is
            unknown.
        seed: random seed of the weights.
    """
    layers: list[nn.Module] = [noise(p_input)] if p_input else []
    generator = torch.Generator().manual_seed(seed)
    last = len(widths) - 2
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        linear = nn.Linear(inputs, outputs * (pieces if i < last else 1))
        if initial == "he":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(linear.bias)
        else:  # the same as nn.Linear.reset_parameters, but with the generator
            for parameter in (linear.weight, linear.bias):
                nn.init.uniform_(parameter, -(inputs**-0.5), inputs**-0.5, generator=generator)
        layers.append(linear)
        if i < last:
            layers.append(Maxout(pieces) if pieces > 1 else activation())
            layers += [noise(p)] if p else []
    return nn.Sequential(*layers)

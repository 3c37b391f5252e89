"""Standout: each unit is kept with a probability that depends on its own input."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit.noise._base import Noise
from dropkit.noise._called import must_be_called
from dropkit.noise._uniform import uniform_like


def standout(
    a: Tensor,
    activation: Callable[[Tensor], Tensor] = F.relu,
    alpha: float = 1.0,
    beta: float = 0.0,
    training: bool = True,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Activate each unit, and keep it with a probability that grows with its input.

    In training ``y = f(a) ⊙ m``, m = 1 with probability ``q = σ(α·a + β)`` and 0 otherwise; in
    evaluation the mean, ``y = f(a) ⊙ q``.

    Args:
        a: inputs of the units, ``W x + b``; float32, float64, bfloat16 or float16; any shape.
        activation: f, elementwise.
        alpha: α, finite. At 0 every unit is dropped with probability σ(−β), as in dropout.
        beta: β, finite; higher keeps more.
        training: if false, return the mean instead of a sample; inside a module pass
            ``self.training``.
        seed: random seed of the mask, 64 bits; at α = 0 the mask is ``keep_mask(shape, σ(−β),
            seed=seed)``. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``f(a)``. In training no gradient flows through the mask.

    Raises:
        TypeError: ``a`` is not a tensor of a floating type.
        ValueError: alpha or beta not finite; seed or stream out of range; both seed and generator
            given.

    >>> standout(torch.tensor([-1.0, 0.0, 2.0]), training=False)
    tensor([0.0000, 0.0000, 1.7616])

    Reference: Ba & Frey, "Adaptive dropout for training deep neural networks" (2013). The paper
    computes q with a second network, and proposes the simplification that is used here: q depends
    on the layer's own input a, scaled by α and shifted by β. As in the paper, and unlike
    ``Dropout``, training does not divide by q.
    """
    _check_finite(alpha, beta)
    if not a.is_floating_point():
        raise TypeError(f"a must be of a floating type, got {a.dtype}; convert it with a.float()")
    logit = alpha * a.to(torch.promote_types(a.dtype, torch.float32)) + beta
    y = activation(a)
    if not training:
        keep = torch.sigmoid(logit)
        return y.masked_fill(keep == 0, 0) * keep.to(y.dtype)
    u = uniform_like(a, seed=seed, stream=stream, generator=generator)
    return y.masked_fill(u <= torch.sigmoid(-logit.detach()), 0)


class Standout(Noise):
    """Standout as a layer that replaces an activation function.

    In training ``y = f(a) ⊙ m``, m = 1 with probability ``q = σ(α·a + β)`` and 0 otherwise; in
    evaluation ``y = f(a) ⊙ q``. The layer is not the identity in evaluation, so removing it changes
    the network. The input a is the output of the linear or convolutional layer before it.

    Args:
        activation: f, an elementwise module. Default: ReLU.
        alpha: α, finite. At 0 every unit is dropped with probability σ(−β), as in dropout.
        beta: β, finite; higher keeps more.

    Raises:
        ValueError: alpha or beta not finite.

    >>> net = nn.Sequential(nn.Linear(4, 8), Standout(nn.ReLU()), nn.Linear(8, 2))
    >>> net(torch.ones(3, 4)).shape
    torch.Size([3, 2])

    Reference: Ba & Frey (2013). If the activation is the identity, α = 1 and β = 0, the layer
    computes SiLU in evaluation.
    """

    def __init__(
        self, activation: nn.Module | None = None, alpha: float = 1.0, beta: float = 0.0
    ) -> None:
        super().__init__()
        _check_finite(alpha, beta)
        must_be_called(self)
        self.activation = nn.ReLU() if activation is None else activation
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations with a random mask in training, and their mean in evaluation."""
        return standout(x, self.activation, self.alpha, self.beta, self.training, seed=self.seed)

    def perturb(self, x: Tensor) -> Tensor:
        """Return the activations with a fresh mask, in training and in evaluation."""
        return standout(x, self.activation, self.alpha, self.beta, seed=self.seed)

    def extra_repr(self) -> str:
        """Show α and β."""
        return f"alpha={self.alpha:g}, beta={self.beta:g}"


def _check_finite(alpha: float, beta: float) -> None:
    if not (math.isfinite(alpha) and math.isfinite(beta)):
        raise ValueError(f"alpha and beta must be finite, got {alpha} and {beta}")

"""Dropout: Bernoulli noise, inverted, so that evaluation needs no rescaling."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.noise._base import MultiplicativeNoise, dropout_variance
from dropkit.random._multiply import multiply


def dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    shared_dims: Sequence[int] = (),
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero each element with probability p and multiply the others by 1/(1 − p).

    ``y = x ⊙ m``, m = 0 with probability p and 1/(1 − p) otherwise, so that E y = x.

    Args:
        x: float32, float64, bfloat16 or float16; any shape.
        p: probability of dropping, in [0, 1], rounded to a multiple of 2⁻¹⁶. Pass a scalar tensor
            to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        shared_dims: dimensions along which one mask value is shared; ``(-2, -1)`` drops whole
            channels of an image.
        seed: random seed of the mask; the mask equals ``keep_mask(shape, p, seed=seed)``. Default:
            drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself. Dropped elements are zero even where
        ``x`` is infinite.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed, stream or shared_dims out of range; both seed and generator given.

    >>> dropout(torch.ones(2, 8), 0.5, seed=0)
    tensor([[2., 0., 2., 2., 2., 2., 2., 2.],
            [2., 2., 0., 0., 0., 2., 2., 0.]])

    Reference: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, "Dropout: a simple way to
    prevent neural networks from overfitting" (2014). The paper multiplies the weights by the keep
    probability at test time. This function divides by the keep probability in training, which gives
    the same test network.
    """
    if not training:
        return x
    return multiply(
        x, "bernoulli", p, shared_dims=shared_dims, seed=seed, stream=stream, generator=generator
    )


class Dropout(MultiplicativeNoise):
    """Dropout as a layer: zeroes each element with probability p while training.

    ``y = x ⊙ m``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In evaluation, the layer is the
    identity.

    Args:
        p: probability of dropping, in [0, 1].
        shared_dims: dimensions of the input along which one mask value is shared; ``(-2, -1)``
            drops whole channels of an image.

    Raises:
        ValueError: p outside [0, 1].

    >>> layer = Dropout(0.5)
    >>> x = torch.ones(4)
    >>> bool((layer.eval()(x) == x).all())
    True
    >>> layer.p = 0.3
    >>> layer, Dropout.from_keep_prob(0.8)
    (Dropout(p=0.3), Dropout(p=0.2))

    Reference: Srivastava et al. (2014).
    """

    def __init__(self, p: float = 0.5, *, shared_dims: Sequence[int] = ()) -> None:
        super().__init__(p)
        self.shared_dims = tuple(shared_dims)

    @classmethod
    def from_keep_prob(cls, q: float, *, shared_dims: Sequence[int] = ()) -> Self:
        """Create ``Dropout(1 − q)`` from the probability q of *keeping*, called p in the paper."""
        return cls(1.0 - check_probability(q, "q"), shared_dims=shared_dims)

    @property
    def variance(self) -> float:
        """Variance of the noise, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        return multiply(x, "bernoulli", self._rate, shared_dims=self.shared_dims, seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate and the shared dimensions."""
        shared = f", shared_dims={self.shared_dims}" if self.shared_dims else ""
        return super().extra_repr() + shared

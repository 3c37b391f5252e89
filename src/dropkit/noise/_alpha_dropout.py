"""Alpha dropout: set dropped units to SELU's lower limit, and keep mean and variance."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.noise._base import RatedNoise
from dropkit.random._multiply import multiply
from dropkit.random.dispatch import LEVELS

# SELU's limit at −∞, −λα, with SELU's constants λ = 1.0507… and α = 1.6733…
_LOW = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def alpha_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    shared_dims: Sequence[int] = (),
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Set each element to SELU's lower limit with probability p, then restore mean and variance.

    ``y = a·(x if kept, else α') + b``, α' = −λα ≈ −1.758, ``a = (q + α'²·p·q)^(−1/2)`` and ``b =
    −a·p·α'`` with q = 1 − p. If x has mean 0 and variance 1, so has y.

    Args:
        x: activations of mean 0 and variance 1, as SELU gives them; float32, float64, bfloat16 or
            float16; any shape.
        p: probability of dropping, in [0, 1], rounded to a multiple of 2⁻¹⁶. Pass a scalar tensor
            to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        shared_dims: dimensions along which one mask value is shared.
        seed: random seed of the mask; the mask equals ``keep_mask(shape, p, seed=seed)``. Default:
            drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself. At p = 1 all zeros, the limit of p → 1.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed, stream or shared_dims out of range; both seed and generator given.

    >>> y = alpha_dropout(torch.randn(100_000), 0.2)
    >>> bool(y.mean().abs() < 0.02), bool((y.var() - 1).abs() < 0.03)
    (True, True)

    Reference: Klambauer, Unterthiner, Mayr & Hochreiter, "Self-normalizing neural networks" (2017).
    Unlike dropout, E[y | x] is not x: evaluation matches the mean and variance over all units, not
    the mean of each unit.
    """
    if not training:
        return x
    mask = multiply(
        torch.ones_like(x, requires_grad=False),
        "bernoulli",
        p,
        shared_dims=shared_dims,
        seed=seed,
        stream=stream,
        generator=generator,
        as_mask=True,
    )
    # The rate that the mask has after rounding. Multiplying a tensor by ``p`` makes ``p`` an input
    # of compiled code, so a new float does not recompile it.
    p = (torch.ones((), dtype=torch.float64, device="cpu") * p * LEVELS).round() / LEVELS
    q = 1 - p
    a = torch.where(q > 0, (q + _LOW**2 * p * q).rsqrt(), 0.0)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # so that y is rounded once
    return (torch.where(mask == 0, _LOW, wide) * a - a * p * _LOW).to(x.dtype)


class AlphaDropout(RatedNoise):
    """Alpha dropout as a layer, for self-normalizing networks: use it after SELU.

    ``y = a·(x if kept, else α') + b`` with α' = −λα; a and b preserve mean 0 and variance 1. In
    evaluation, the layer is the identity.

    Args:
        p: probability of dropping, in [0, 1]; the paper uses 0.05 and 0.1.

    Raises:
        ValueError: p outside [0, 1].

    >>> layer = AlphaDropout(0.1)
    >>> x = torch.randn(4)
    >>> layer, bool((layer.eval()(x) == x).all())
    (AlphaDropout(p=0.1), True)

    Reference: Klambauer et al. (2017).
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        return alpha_dropout(x, self._rate, seed=self.seed)


class FeatureAlphaDropout(AlphaDropout):
    """Alpha dropout of whole channels: one mask value for each channel of (N, C, …).

    ``y[n, c, …] = a·(x[n, c, …] if kept, else α') + b``, otherwise as in ``AlphaDropout``.

    Args:
        p: probability of dropping a channel, in [0, 1].

    Raises:
        ValueError: p outside [0, 1]; at the call, an input of fewer than two dimensions.

    >>> y = FeatureAlphaDropout(0.5)(torch.ones(2, 3, 4, 4))
    >>> bool((y == y[..., :1, :1]).all())
    True

    Reference: Klambauer et al. (2017), with whole channels as in Tompson et al. (2015).
    """

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        if x.dim() < 2:
            raise ValueError(
                f"x must be (N, C, …), got shape {tuple(x.shape)}; x[None] makes it a batch of one"
            )
        return alpha_dropout(x, self._rate, shared_dims=tuple(range(2, x.dim())), seed=self.seed)

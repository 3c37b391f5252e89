"""Concrete dropout: learn the rate by gradient descent, through a continuous mask."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit._checks import check_positive, check_probability
from dropkit.noise._affine import Affine, check_affine
from dropkit.noise._base import Noise
from dropkit.noise._called import Around
from dropkit.noise._kl import LearnedNoise
from dropkit.noise._uniform import uniform_like


class ConcreteDropout(Around, LearnedNoise):
    """A linear or convolutional layer that drops its input at a learned rate.

    ``y = layer(x ⊙ z/(1 − p))``. Each unit has a continuous mask value ``z = σ((log((1 − p)/p) +
    log(u/(1 − u)))/t)``, u uniform in (0, 1); a convolution drops whole channels. In evaluation the
    output is ``layer(x)``. Add ``kl_divergence(model) / N`` to the loss, where N is the number of
    training examples; without this term the rate only decreases.

    The mask z is above ½ with probability 1 − p. The mean of z is 1 − p at p = ½ and in the limit t
    → 0. In general ``E z/(1 − p) ≈ 1 − (π²/6)·t²·p·(1 − 2p)``, which differs from 1 by less than
    0.0021 at t = 0.1 and p ≤ ½. Evaluation ignores this difference.

    Args:
        layer: an ``nn.Linear`` or ``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d``.
        p: initial probability of dropping, in (0, 1). The layer learns ``layer.drop.logit``;
            ``layer.drop.p`` is the current probability.
        length_scale: l, which sets the prior N(0, l⁻²) of each weight.
        temperature: t; lower values give a mask closer to zeros and ones, with steeper gradients.

    Raises:
        TypeError: ``layer`` is of another type.
        ValueError: p outside (0, 1); length scale or temperature not above 0; a lazy
            weight.

    >>> layer = ConcreteDropout(nn.Linear(3, 2), p=0.25)
    >>> layer(torch.ones(4, 3)).shape, round(layer.drop.p, 3)
    (torch.Size([4, 2]), 0.25)

    Reference: Gal, Hron & Kendall, "Concrete dropout" (2017). Others report that the authors' code
    has the same defaults for p and t, drops whole channels of images, and ignores the bias in the
    divergence. The mask engine draws u with 16 bits.
    """

    layer: Affine

    def __init__(
        self,
        layer: Affine,
        p: float = 0.1,
        *,
        length_scale: float = 0.01,
        temperature: float = 0.1,
    ) -> None:
        check_affine(layer)
        if check_probability(p) in (0.0, 1.0):
            raise ValueError(
                f"p must lie strictly between 0 and 1, got {p}; a rate of 0 or 1 cannot be learned"
            )
        super().__init__(layer)
        self.length_scale = check_positive(length_scale, "length_scale")
        spatial = tuple(range(2 - layer.weight.dim(), 0))
        # One element instead of a scalar, because sharded training rejects scalar parameters.
        logit = layer.weight.new_full((1,), math.log(p / (1 - p)))
        self.drop = _RelaxedDropout(logit, check_positive(temperature, "temperature"), spatial)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the wrapped layer to ``x`` with noise."""
        y: Tensor = self.layer(self.drop(x))
        return y

    def kl(self) -> Tensor:
        """Return the divergence from the prior up to a constant, ``l²·‖W‖²/(2·(1 − p)) − K·H(p)``.

        K is the number of inputs (for a convolution, of input channels), and ``H(p) = −p·log p − (1
        − p)·log(1 − p)``. The result is in nats and may be negative.
        """
        weight, logit = self.layer.weight, self.drop.logit[0]
        inputs = weight.shape[1] * getattr(self.layer, "groups", 1)
        entropy = F.softplus(logit) - logit.sigmoid() * logit
        inverse_keep = 1 + logit.exp()
        return self.length_scale**2 / 2 * weight.square().sum() * inverse_keep - inputs * entropy

    def extra_repr(self) -> str:
        """Show the length scale."""
        return f"length_scale={self.length_scale:g}"


class _RelaxedDropout(Noise):
    """The noise of concrete dropout: ``y = x ⊙ z/(1 − p)`` with a continuous mask z."""

    def __init__(self, logit: Tensor, temperature: float, shared_dims: tuple[int, ...]) -> None:
        super().__init__()
        self.logit = nn.Parameter(logit)
        self.temperature = temperature
        self.shared_dims = shared_dims

    @property
    def p(self) -> float:
        """The probability of dropping, as learned so far."""
        return self.logit.sigmoid().item()

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh continuous mask, in training and in evaluation."""
        wide = torch.promote_types(x.dtype, torch.float32)
        one = x.detach()
        for dim in self.shared_dims:
            one = one.narrow(dim, 0, min(1, x.shape[dim]))
        keep = -self.logit.to(wide)
        relaxed = (keep + uniform_like(one, seed=self.seed).to(wide).logit()) / self.temperature
        # A difference of logarithms stays finite at every rate.
        noise = (F.logsigmoid(relaxed) - F.logsigmoid(keep)).exp()
        # Fill with zeros where the noise is 0, because ∞ · 0 would be NaN.
        return (x.masked_fill(noise == 0, 0).to(wide) * noise).to(x.dtype)

    def extra_repr(self) -> str:
        """Show the temperature."""
        return f"temperature={self.temperature:g}"

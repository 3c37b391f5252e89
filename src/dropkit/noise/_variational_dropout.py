"""Variational dropout: learn the noise of every weight, so that noisy weights can be pruned."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit.noise._affine import Affine, check_affine, check_forward
from dropkit.noise._called import Around
from dropkit.noise._gaussian_noise import GaussianNoise
from dropkit.noise._kl import LearnedNoise

# Constants of the approximation to the divergence by Molchanov et al.
_K1, _K2, _K3 = 0.63576, 1.87320, 1.48695


class VariationalDropout(Around, LearnedNoise):
    """A linear or convolutional layer with learned Gaussian noise on each weight.

    It is not the variational dropout of recurrent networks, which uses one mask for all time steps;
    for that, see ``LockedDropout``.

    ``W = θ + σ ⊙ ε``, ε ~ N(0, 1), drawn through the outputs (local reparametrization): ``y =
    layer(x; θ) + √(layer(x²; σ²)) ⊙ z``, z ~ N(0, 1). Each output has the same distribution as with
    a separate W for each example. For a linear layer, the joint distribution of the outputs is also
    the same. A convolution draws the noise of its output positions independently, which is an
    approximation. In evaluation the output is the mean, ``layer(x; θ)``.

    Add ``kl_divergence(model) / N`` to the loss, where N is the number of training examples. The
    authors increase the weight of this term from 0 during the first epochs.

    A weight with a large ``α = σ²/θ²`` counts as dropped: at log α = 3 its noise is 4.5 times as
    large as θ.

    Args:
        layer: an ``nn.Linear`` or ``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d``; its weight is θ, and
            its bias has no noise. Hooks of the layer receive the output with noise.
        log_variance: initial log σ² of every weight; learned as ``layer.log_variance``.

    Raises:
        TypeError: ``layer`` has another type, or its own forward pass.
        ValueError: log_variance not finite; a lazy weight.

    >>> layer = VariationalDropout(nn.Linear(3, 2))
    >>> layer(torch.ones(4, 3)).shape
    torch.Size([4, 2])

    Reference: Kingma, Salimans & Welling, "Variational dropout and the local reparameterization
    trick" (2015); Molchanov, Ashukha & Vetrov, "Variational dropout sparsifies deep neural
    networks" (2017). Deviations: log α is not clipped, and dropped weights stay in use, with their
    noise in training, until ``pruned`` removes them.
    """

    layer: Affine

    def __init__(self, layer: Affine, log_variance: float = -10.0) -> None:
        check_affine(layer)
        check_forward(layer)
        if not math.isfinite(log_variance):
            raise ValueError(f"log_variance must be finite, got {log_variance}")
        super().__init__(layer)
        self.log_variance = nn.Parameter(torch.full_like(layer.weight, log_variance))
        self.drop = GaussianNoise(1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with noise in training, and its mean in evaluation."""
        layer = self.layer
        if not self.drop.training:
            return layer(x)  # type: ignore[no-any-return]
        if not (layer._forward_hooks or layer._forward_pre_hooks):
            return self._with_noise(layer, (x,), layer(x))
        # Run before the other forward hooks, so that they receive the output with noise. A hook
        # gets the input that pre-hooks may have changed.
        first = layer.register_forward_hook(self._with_noise, prepend=True)
        try:
            return layer(x)  # type: ignore[no-any-return]
        finally:
            first.remove()

    def _with_noise(self, layer: Affine, inputs: tuple[Tensor, ...], mean: Tensor) -> Tensor:
        x = inputs[0]
        wide = torch.promote_types(x.dtype, torch.float32)
        # Squares overflow in half precision.
        with torch.autocast(x.device.type, enabled=False):
            square, sigma2 = x.to(wide).square(), self.log_variance.to(wide).exp()
            if isinstance(layer, nn.Linear):
                variance = F.linear(square, sigma2)
            else:
                variance = layer._conv_forward(square, sigma2, None)
        # Avoid the infinite derivative of the square root at 0, which an input of zeros would
        # reach.
        std = variance.clamp(min=torch.finfo(wide).tiny).sqrt()
        noise: Tensor = std * self.drop(torch.zeros_like(std))
        return mean + noise.to(mean.dtype)

    def log_alpha(self) -> Tensor:
        """Return ``log α = log σ² − log θ²`` for each weight, in float32 or wider."""
        weight = self.layer.weight
        square = weight.to(torch.promote_types(weight.dtype, torch.float32)).square()
        # At θ = 0 the logarithm would be infinite, and its gradient not a number.
        log_alpha: Tensor = self.log_variance - (square + torch.finfo(square.dtype).tiny).log()
        return log_alpha

    def kl(self) -> Tensor:
        """Return the divergence from the log-uniform prior, summed over the weights, in nats.

        ``Σ k₁·σ(−(k₂ + k₃·log α)) + ½·log(1 + 1/α)``, where σ is the sigmoid and k₁, k₂, k₃ are
        constants of the paper. The divergence tends to 0 for α → ∞. For each weight, the formula
        differs from the exact integral by at most 0.01 nats, at every α.
        """
        log_alpha = self.log_alpha()
        fit = _K1 * torch.sigmoid(-(_K2 + _K3 * log_alpha)) + F.softplus(-log_alpha) / 2
        return fit.sum()

    def pruned(self, threshold: float = 3.0) -> nn.Module:
        """Return a copy of the wrapped layer, with zeros where log α exceeds the threshold."""
        layer = deepcopy(self.layer)
        with torch.no_grad():
            layer.weight.masked_fill_(self.log_alpha() > threshold, 0)
        return layer

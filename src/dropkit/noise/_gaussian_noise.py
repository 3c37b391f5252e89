"""Gaussian noise: add normal noise to the input."""

import math

import torch
from torch import Tensor

from dropkit.noise._base import Noise
from dropkit.noise._gaussian_dropout import gaussian_dropout


def gaussian_noise(
    x: Tensor,
    std: float,
    training: bool = True,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Add independent normal noise to each element.

    ``y = x + std · z``, z ~ N(0, 1), so that E y = x and Var y = std².

    Args:
        x: float32, float64, bfloat16 or float16; any shape.
        std: standard deviation of the noise in the units of x, 0 or more.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        seed: random seed of the noise, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent noise. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself. The sum is rounded once, to the dtype of x.

    Raises:
        TypeError: ``x`` is not a tensor of a floating type.
        ValueError: std is negative or not finite; seed or stream out of range; both seed and
            generator given.

    >>> x = torch.zeros(100_000)
    >>> y = gaussian_noise(x, 0.5, seed=0)
    >>> bool((y.std() - 0.5).abs() < 0.01)
    True

    Reference: Bishop (1995), "Training with noise is equivalent to Tikhonov regularization". With
    the same seed, ``gaussian_dropout`` uses the same z.
    """
    std = _check_std(std)
    if not x.is_floating_point():
        raise TypeError(f"x must be of a floating type, got {x.dtype}; convert it with x.float()")
    if not training or std == 0.0:
        return x
    wide = torch.promote_types(x.dtype, torch.float32)
    # At rate 1/2 the multiplicative noise on 1 is 1 + z.
    one = torch.ones_like(x, dtype=wide, requires_grad=False)
    z = gaussian_dropout(one, 0.5, seed=seed, stream=stream, generator=generator) - 1
    return torch.add(x.to(wide), z, alpha=std).to(x.dtype)


class GaussianNoise(Noise):
    """Gaussian noise as a layer: adds N(0, std²) while training.

    ``y = x + std · z``, z ~ N(0, 1). In evaluation, the layer is the identity.

    Args:
        std: standard deviation of the noise in the units of the input, 0 or more.

    Raises:
        ValueError: std is negative or not finite.

    >>> layer = GaussianNoise(0.1)
    >>> x = torch.ones(4)
    >>> bool((layer(x) == x).all()), bool((layer.eval()(x) == x).all())
    (False, True)

    Reference: Bishop (1995).
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = _check_std(std)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with fresh noise, in training and in evaluation."""
        return gaussian_noise(x, self.std, seed=self.seed)

    def extra_repr(self) -> str:
        """Show the standard deviation."""
        return f"std={self.std:g}"


def _check_std(std: float) -> float:
    number = float(std)
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(f"std must be a finite number, 0 or more, got {std}")
    return number

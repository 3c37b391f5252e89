"""Channel dropout: drop whole feature maps, because neighbouring values are correlated."""

from typing import ClassVar

import torch
from torch import Tensor

from dropkit.noise._base import MultiplicativeNoise, dropout_variance
from dropkit.noise._dropout import dropout


def channel_dropout(
    x: Tensor,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    spatial_dims: int,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero each channel with probability p and multiply the others by 1/(1 − p).

    ``y[n, c, …] = x[n, c, …] · m[n, c]``, m = 0 with probability p and 1/(1 − p) otherwise.

    Args:
        x: (N, C, …), or (C, …) for one sample, where "…" is ``spatial_dims`` dimensions; float32,
            float64, bfloat16 or float16.
        p: probability of dropping, in [0, 1]. Pass a scalar tensor to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        spatial_dims: number of dimensions of a channel: 1 for sequences, 2 for images, 3 for
            volumes.
        seed: random seed of the mask, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: ``x`` has the wrong number of dimensions; p, seed or stream out of range; both
            seed and generator given.

    >>> y = channel_dropout(torch.ones(8, 4, 100), 0.5, spatial_dims=1)
    >>> bool((y == y[..., :1]).all())
    True

    Reference: Tompson, Goroshin, Jain, LeCun & Bregler, "Efficient object localization using
    convolutional networks" (2015).
    """
    if x.dim() not in (spatial_dims + 1, spatial_dims + 2):
        sizes = ", ".join("DHW"[-spatial_dims:]) if spatial_dims > 1 else "L"
        raise ValueError(
            f"x must be (N, C, {sizes}), or (C, {sizes}) for one sample, got shape "
            f"{tuple(x.shape)}; reshape it, or use the layer for another number of dimensions"
        )
    return dropout(
        x,
        p,
        training,
        shared_dims=tuple(range(-spatial_dims, 0)),
        seed=seed,
        stream=stream,
        generator=generator,
    )


class _ChannelDropout(MultiplicativeNoise):
    """Shared code of Dropout1d, Dropout2d and Dropout3d; each only sets ``spatial_dims``."""

    spatial_dims: ClassVar[int]

    @property
    def variance(self) -> float:
        """Variance of the noise, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        return channel_dropout(x, self._rate, spatial_dims=self.spatial_dims, seed=self.seed)


class Dropout1d(_ChannelDropout):
    """Channel dropout for sequences: zeroes whole channels of (N, C, L) or (C, L).

    ``y[n, c, :] = x[n, c, :] · m[n, c]``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In
    evaluation, the layer is the identity.

    Args:
        p: probability of dropping a channel, in [0, 1].

    Raises:
        ValueError: p outside [0, 1]; at the call, an input with the wrong number of dimensions.

    >>> y = Dropout1d(0.5)(torch.ones(2, 3, 100))
    >>> bool((y == y[..., :1]).all())
    True

    Reference: Tompson et al. (2015).
    """

    spatial_dims = 1
    behind_any_layer = False  # (N, features) would be one sample with N channels


class Dropout2d(_ChannelDropout):
    """Channel dropout for images: zeroes whole channels of (N, C, H, W) or (C, H, W).

    ``y[n, c, :, :] = x[n, c, :, :] · m[n, c]``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In
    evaluation, the layer is the identity.

    Args:
        p: probability of dropping a channel, in [0, 1].
        batched: whether every input is a batch (N, C, …) with two or more dimensions, as in
            ``nn.Dropout2d``. By default an input with three dimensions is one image.

    Raises:
        ValueError: p outside [0, 1]; at the call, an input with the wrong number of dimensions.

    >>> y = Dropout2d(0.5)(torch.ones(2, 3, 10, 10))
    >>> bool((y == y[..., :1, :1]).all())
    True

    Reference: Tompson et al. (2015).
    """

    spatial_dims = 2
    batched: bool = False  # the default for pickles from before this option existed

    def __init__(self, p: float = 0.5, *, batched: bool = False) -> None:
        super().__init__(p)
        self.batched = batched

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        if not self.batched:
            return super().perturb(x)
        if x.dim() < 2:
            raise ValueError(
                f"x must be (N, C, …), got shape {tuple(x.shape)}; x[None] makes it a batch of one"
            )
        return dropout(x, self._rate, shared_dims=tuple(range(2, x.dim())), seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate, and whether every input is a batch."""
        return super().extra_repr() + (", batched=True" if self.batched else "")


class Dropout3d(_ChannelDropout):
    """Channel dropout for volumes: zeroes whole channels of (N, C, D, H, W) or (C, D, H, W).

    ``y[n, c, …] = x[n, c, …] · m[n, c]``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In
    evaluation, the layer is the identity.

    Args:
        p: probability of dropping a channel, in [0, 1].
        allow_any_dims: whether to accept any other number of dimensions as one sample (C, …), as
            ``nn.Dropout3d`` does with a warning.

    Raises:
        ValueError: p outside [0, 1]; at the call, an input with the wrong number of dimensions.

    >>> y = Dropout3d(0.5)(torch.ones(2, 3, 4, 4, 4))
    >>> bool((y == y[..., :1, :1, :1]).all())
    True

    Reference: Tompson et al. (2015).
    """

    spatial_dims = 3
    allow_any_dims: bool = False  # the default for pickles from before this option existed

    def __init__(self, p: float = 0.5, *, allow_any_dims: bool = False) -> None:
        super().__init__(p)
        self.allow_any_dims = allow_any_dims

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        if not self.allow_any_dims or x.dim() in (4, 5):
            return super().perturb(x)
        if x.dim() < 1:
            raise ValueError("x must have a dimension for the channels, got a number; pass x[None]")
        return dropout(x, self._rate, shared_dims=tuple(range(1, x.dim())), seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate, and whether inputs may have any number of dimensions."""
        return super().extra_repr() + (", allow_any_dims=True" if self.allow_any_dims else "")

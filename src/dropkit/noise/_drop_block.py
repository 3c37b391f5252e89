"""DropBlock: drop contiguous blocks of a feature map, so that neighbours cannot replace a unit."""

import operator
from functools import reduce
from typing import ClassVar, Self

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.noise._base import MultiplicativeNoise, dropout_variance
from dropkit.random._multiply import multiply
from dropkit.random.dispatch import LEVELS
from dropkit.random.seed import settle

_SECOND = 1 << 63  # the stream of the second mask


def drop_block(
    x: Tensor,
    p: float | Tensor = 0.1,
    training: bool = True,
    *,
    block_size: int,
    spatial_dims: int = 2,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero blocks of each channel, so that a unit is dropped with probability p; scale the others.

    ``y = x ⊙ m``, m = 0 in every block that was drawn and 1/(1 − p) elsewhere. Each possible block
    is drawn with probability ``γ = 1 − (1 − p)^(1/bᵈ)``, where b is the block size and d the number
    of spatial dimensions. Blocks may extend over the edges of the map. So every unit lies in bᵈ
    possible blocks and is dropped with probability ``1 − (1 − γ)^(bᵈ) = p``, at any position and
    for any map size.

    Args:
        x: (N, C, …), or (C, …) for one sample, where "…" is ``spatial_dims`` dimensions; float32,
            float64, bfloat16 or float16.
        p: probability of dropping a unit, in [0, 1]. Pass a scalar tensor to change p without
            recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        block_size: edge length b of a block, in units of the map; 1 is ordinary dropout.
        spatial_dims: how many dimensions a channel has: 2 for images, 3 for volumes.
        seed: random seed of the mask, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream, below 2⁶³; each stream of a seed gives independent
            masks. Default: 0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: ``x`` has the wrong number of dimensions; block size not a positive int; p, seed
            or stream out of range; both seed and generator given.

    >>> y = drop_block(torch.ones(100, 8, 16, 16), 0.2, block_size=5)
    >>> bool(((y == 0).float().mean() - 0.2).abs() < 0.02)
    True

    Reference: Ghiasi, Lin & Le, "DropBlock: a regularization method for convolutional networks"
    (2018). The paper only draws blocks within the map, ignores overlaps in its γ, and divides by
    the fraction of units kept in the batch. So the paper's method drops a smaller share of units
    than p, and a smaller share at the edges than in the middle.
    """
    _check_block_size(block_size)
    if x.dim() not in (spatial_dims + 1, spatial_dims + 2):
        sizes = ", ".join("DHW"[-spatial_dims:])
        raise ValueError(
            f"x must be (N, C, {sizes}), or (C, {sizes}) for one sample, got shape "
            f"{tuple(x.shape)}; reshape it, or use the layer for another number of dimensions"
        )
    if not x.is_floating_point():
        raise TypeError(f"x must be of a floating type, got {x.dtype}; convert it")
    compiling = torch.compiler.is_compiling()
    if not compiling:
        check_probability(float(p))
    if not training:
        return x
    key, stream = settle(x, seed, stream, generator, compiling)
    # Multiplying a tensor by ``p`` makes ``p`` an input of compiled code, so a new float does not
    # recompile it.
    p = torch.ones((), dtype=torch.float64, device="cpu") * p
    grid = list(x.shape[:-spatial_dims])
    grid += [size + block_size - 1 for size in x.shape[-spatial_dims:]]
    corners = _draw(grid, _corner_rate(p, block_size**spatial_dims), key, stream)
    scale = torch.where(p < 1, 1 / (1 - p), 0.0)
    return (x * scale).masked_fill(_blocks(corners, block_size, spatial_dims), 0)


def _corner_rate(p: Tensor, volume: int) -> Tensor:
    """Return γ = 1 − (1 − p)^(1/volume), without loss of precision for a small γ."""
    return -torch.expm1(torch.log1p(-p) / volume)


def _draw(shape: list[int], rate: Tensor, seed: Tensor, stream: int) -> Tensor:
    """Return a bool tensor whose elements are true with probability ``rate``.

    A mask rounds its rate to a multiple of 1/65,536, which is too coarse for a small ``rate``. So
    combine two masks with "and": one at the next multiple above ``rate``, and one at ``rate``
    divided by this multiple.
    """
    ones = torch.ones(shape, device=seed.device)
    above = (rate * LEVELS).ceil().clamp(min=1) / LEVELS
    first = multiply(ones, "bernoulli", above, seed=seed, stream=stream)
    second = multiply(ones, "bernoulli", rate / above, seed=seed, stream=stream ^ _SECOND)
    return (first == 0) & (second == 0)


def _blocks(corners: Tensor, block_size: int, spatial_dims: int) -> Tensor:
    """Return which units are dropped: unit i if one of the corners i … i + b − 1 is true."""
    for dim in range(-spatial_dims, 0):
        size = corners.shape[dim] - block_size + 1
        corners = reduce(operator.or_, (corners.narrow(dim, i, size) for i in range(block_size)))
    return corners


def _check_block_size(block_size: int) -> int:
    if not isinstance(block_size, int) or block_size < 1:
        raise ValueError(f"block_size must be an int, 1 or more, got {block_size!r}")
    return block_size


class _DropBlock(MultiplicativeNoise):
    """Shared code of DropBlock2d and DropBlock3d; each only sets ``spatial_dims``."""

    spatial_dims: ClassVar[int]

    def __init__(self, p: float = 0.1, block_size: int = 7) -> None:
        super().__init__(p)
        self.block_size = _check_block_size(block_size)

    @classmethod
    def from_keep_prob(cls, q: float, block_size: int = 7) -> Self:
        """Create the layer from the probability of *keeping* a unit: ``cls(1 − q, block_size)``."""
        return cls(1.0 - check_probability(q, "q"), block_size)

    @property
    def variance(self) -> float:
        """Variance of the noise on one unit, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with fresh blocks, in training and in evaluation."""
        return drop_block(
            x,
            self._rate,
            block_size=self.block_size,
            spatial_dims=self.spatial_dims,
            seed=self.seed,
        )

    def extra_repr(self) -> str:
        """Show the rate and the block size."""
        return f"{super().extra_repr()}, block_size={self.block_size}"


class DropBlock2d(_DropBlock):
    """DropBlock for images: zeroes b × b blocks of each channel of (N, C, H, W) or (C, H, W).

    ``y = x ⊙ m``, m ∈ {0, 1/(1 − p)}, E m = 1 and Var m = p/(1 − p) for each unit, edges included.
    In evaluation, the layer is the identity.

    Args:
        p: probability of dropping a unit, in [0, 1]. The paper's authors increase p from 0 during
            training.
        block_size: edge length b of a block, in units of the map; 1 is ordinary dropout.

    Raises:
        ValueError: p outside [0, 1]; block size not a positive int; at the call, an input with the
            wrong number of dimensions.

    >>> DropBlock2d(0.1, block_size=5)
    DropBlock2d(p=0.1, block_size=5)

    Reference: Ghiasi et al. (2018); for the deviations see ``drop_block``.
    """

    spatial_dims = 2


class DropBlock3d(_DropBlock):
    """DropBlock for volumes: zeroes b × b × b blocks of (N, C, D, H, W) or (C, D, H, W).

    ``y = x ⊙ m``, m ∈ {0, 1/(1 − p)}, E m = 1 and Var m = p/(1 − p) for each unit, edges included.
    In evaluation, the layer is the identity.

    Args:
        p: probability of dropping a unit, in [0, 1].
        block_size: edge length b of a block, in units of the map; 1 is ordinary dropout.

    Raises:
        ValueError: p outside [0, 1]; block size not a positive int; at the call, an input with the
            wrong number of dimensions.

    >>> DropBlock3d(0.1, block_size=3)
    DropBlock3d(p=0.1, block_size=3)

    Reference: Ghiasi et al. (2018), in three dimensions; for the deviations see ``drop_block``.
    """

    spatial_dims = 3

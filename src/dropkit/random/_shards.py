"""Noise for a ``DTensor``, whose shards are on several processes."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor


def is_sharded(x: Tensor) -> bool:
    """Whether a tensor is a ``DTensor``; check the name to avoid the import."""
    return type(x).__name__ == "DTensor"


def multiply_shards(
    x: Any, multiply: Callable[[Tensor, int], Tensor], shared: Sequence[int], seeded: bool
) -> Tensor:
    """Multiply this process's shard by noise; processes with the same shard draw the same noise.

    Args:
        x: the ``DTensor``.
        multiply: function of a shard and its number, which selects the stream; returns the product.
        shared: dimensions along which noise is shared, also between shards.
        seeded: whether the caller gave a seed.

    Raises:
        TypeError: x is a partial sum.
        ValueError: the caller gave a seed, which would define the mask of the whole tensor.
    """
    if any(placement.is_partial() for placement in x.placements):
        raise TypeError(
            "a DTensor must be sharded or replicated for dropout, got a partial sum, "
            f"{x.placements}; take the sum first, x.redistribute(placements=[Replicate()])"
        )
    part = 0
    for dim, placement in enumerate(x.placements):
        if placement.is_shard() and placement.dim % x.dim() not in shared:
            part = part * x.device_mesh.size(dim) + x.device_mesh.get_local_rank(dim)
            if seeded:
                raise ValueError(
                    "a seed gives the mask of a whole tensor, but the input is a DTensor in "
                    f"shards, {x.placements}; leave the seed out, or drop before it is sharded"
                )
    y = multiply(x.to_local(), part)
    return x.from_local(  # type: ignore[no-any-return]
        y, x.device_mesh, x.placements, run_check=False, shape=x.shape, stride=x.stride()
    )

"""Which units each sub-network keeps: a fixed number, all sets of it equally likely."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dropkit.random import seed as seeds
from dropkit.random.philox import MASK32, philox4x32
from dropkit.thinned import _matrix


def choose(size: int, count: int, groups: int) -> Tensor:
    """Draw ``count`` of ``size`` units for each group, in ascending order: (groups, count).

    Kept are the units with the smallest numbers: unit i of group g has word i mod 4 of
    Philox4x32-10 of the counter (⌊i / 4⌋, g, rank's low half, rank's high half), whose key is a
    seed drawn from torch's default generator; of equal numbers the one of the lower index is the
    smaller. Data-parallel ranks, whose generators may agree, differ by the counter. All of it is
    on the CPU, so that the choice does not depend on the device.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        # The call's own empty tensor, which no compiler pass merges: two draws are not one.
        call = torch.empty(0, device="cpu")
        return torch.ops.dropkit.choose(call, size, count, groups)  # type: ignore[no-any-return]
    return _choose(None, size, count, groups)


def _choose(call: Tensor | None, size: int, count: int, groups: int) -> Tensor:
    seed, stream = int(seeds.draw(torch.device("cpu"), None)), seeds.rank()
    if _matrix.kernel is None:
        return of_seed(seed, stream, size, count, groups)
    chosen = np.empty((groups, count), np.int64)
    _matrix.kernel.choose(chosen.ctypes.data, groups, size, count, seed, stream)
    return torch.from_numpy(chosen)


def of_seed(seed: int, stream: int, size: int, count: int, groups: int) -> Tensor:
    """Return the choice that belongs to a seed: the definition, which the kernel reproduces."""
    counters = torch.tensor([0, 0, stream & MASK32, stream >> 32], device="cpu")
    counters = counters.repeat(groups, -(-size // 4), 1)
    counters[..., 0] = torch.arange(counters.shape[1], device="cpu")
    counters[..., 1] = torch.arange(groups, device="cpu")[:, None]
    words = philox4x32(counters, [seed & MASK32, seed >> 32]).view(groups, -1)[:, :size]
    numbers = (words << 31) + torch.arange(size, device="cpu")
    return numbers.topk(count, largest=False, sorted=False).indices.sort().values


def _shape(call: Tensor, size: int, count: int, groups: int) -> Tensor:
    return call.new_empty((groups, count), dtype=torch.int64)


def _for_each(info: Any, in_dims: Any, call: Tensor, *sizes: int) -> tuple[Tensor, int | None]:
    if info.randomness != "same":
        raise RuntimeError(
            "a thinned net keeps the same units for all samples of a vmap; pass "
            "randomness='same' to vmap, or undo the plan"
        )
    return torch.ops.dropkit.choose(call, *sizes), None


_library: Any = torch.library.Library("dropkit", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(
    "choose(Tensor call, int size, int count, int groups) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded),
)
_library.impl("choose", _choose, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::choose", _shape, lib=_library)
torch.library.register_vmap("dropkit::choose", _for_each, lib=_library)

"""Choose a fixed number of units that each group keeps, from those kept least often so far."""

from itertools import count
from typing import Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from dropkit.random import seed as seeds
from dropkit.random._lowering import draws, register_lowering
from dropkit.random.philox import MASK32, philox4x32
from dropkit.random.ranks import data_rank
from dropkit.thinned import _matrix

_REMEMBERED = 8  # number of stored choices, because activation checkpointing repeats a recent seed


class Choice:
    """Balanced random choices among ``size`` units.

    Each choice keeps the units that were kept least often so far, with ties broken at random. Every
    set of units is equally likely, but successive choices compensate for each other: units that
    were dropped are preferred next time. So the noise of the masks cancels over a few steps, while
    the noise of independent masks adds up.

    Unit i of group g gets the sort key (times kept, ⌊word / 2⌋, i). The word is output i mod 4 of
    Philox4x32-10. The counter of Philox is (⌊i / 4⌋, g, low half of the rank, high half of the
    rank); the key of Philox is a seed drawn from torch's default generator. The units with the
    smallest sort keys are kept; group g + 1 is chosen after group g. The counter makes
    data-parallel ranks differ, even if their generators are equal. The choice is computed on the
    CPU, so it does not depend on the device.

    A seed that was used recently gives the same choice again, without counting it twice. So
    activation checkpointing, which restores the generators, computes the same pass again.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept = np.zeros(size, np.int64)  # times each unit was kept, minus the minimum
        self._recent: dict[tuple[int, int, int, int], Tensor] = {}
        self._place = next(_numbers)
        _places[self._place] = self

    def __reduce__(self) -> Any:
        return Choice, (self.size,)  # copies and pickles start without a history

    def draw(self, keep: int, groups: int) -> Tensor:
        """Draw ``keep`` units for each group, in ascending order: (groups, keep)."""
        transformed = torch._C._are_functorch_transforms_active()
        if transformed or torch.compiler.is_compiling():
            # A new empty tensor for each call keeps a compiler from merging two draws. Under vmap
            # use a random tensor: depending on ``randomness``, vmap then raises an error or batches
            # it.
            make = torch.rand if transformed else torch.empty
            call = make(0, device="cpu")
            return torch.ops.dropkit.choose(call, self._place, keep, groups)  # type: ignore[no-any-return]
        return self.settle(keep, groups)

    def settle(self, keep: int, groups: int) -> Tensor:
        """Draw as ``draw`` does, for eager code only."""
        drawn = keep, groups, int(seeds.draw(torch.device("cpu"), None)), data_rank()
        if drawn not in self._recent:
            if len(self._recent) == _REMEMBERED:
                del self._recent[next(iter(self._recent))]
            self._recent[drawn] = choose(self._kept, *drawn)
        return self._recent[drawn]


_numbers = count()
_places: WeakValueDictionary[int, Choice] = WeakValueDictionary()


def choose(kept: np.ndarray[Any, Any], keep: int, groups: int, seed: int, stream: int) -> Tensor:
    """Choose with a seed, and update ``kept``: the times each unit was kept, minus the minimum."""
    if _matrix.kernel is None:
        return reference(kept, keep, groups, seed, stream)
    chosen = np.empty((groups, keep), np.int64)
    _matrix.kernel.choose(
        chosen.ctypes.data, kept.ctypes.data, groups, len(kept), keep, seed, stream
    )
    return torch.from_numpy(chosen)


def reference(kept: np.ndarray[Any, Any], keep: int, groups: int, seed: int, stream: int) -> Tensor:
    """Define the result of ``choose`` with torch operations."""
    size = len(kept)
    counters = torch.tensor([0, 0, stream & MASK32, stream >> 32], device="cpu")
    counters = counters.repeat(groups, -(-size // 4), 1)
    counters[..., 0] = torch.arange(counters.shape[1], device="cpu")
    counters[..., 1] = torch.arange(groups, device="cpu")[:, None]
    words = philox4x32(counters, [seed & MASK32, seed >> 32]).view(groups, -1)[:, :size]
    units, times = torch.arange(size, device="cpu"), torch.from_numpy(kept)
    chosen = []
    for word in words:
        numbers = (times << 62) + (word >> 1 << 31) + units
        chosen.append(numbers.topk(keep, largest=False, sorted=False).indices.sort().values)
        times[chosen[-1]] += 1
        times -= times.min()
    return torch.stack(chosen)


def _op(call: Tensor, place: int, keep: int, groups: int) -> Tensor:
    return _places[place].settle(keep, groups).clone()


def _shape(call: Tensor, place: int, keep: int, groups: int) -> Tensor:
    register_lowering()  # a compiler needs the lowering from now on
    return call.new_empty((groups, keep), dtype=torch.int64)


def _for_each(info: Any, in_dims: Any, call: Tensor, *sizes: int) -> NoReturn:
    raise RuntimeError(
        "a thinned net keeps the same units for all samples of a vmap; pass randomness='same' to "
        "vmap, or undo the plan"
    )


_library: Any = torch.library.Library("dropkit", "FRAGMENT")  # type: ignore[no-untyped-call]
_library.define(
    "choose(Tensor call, int place, int keep, int groups) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.nondeterministic_seeded),
)
_library.impl("choose", _op, "CompositeExplicitAutograd")
torch.library.register_fake("dropkit::choose", _shape, lib=_library)
torch.library.register_vmap("dropkit::choose", _for_each, lib=_library)
draws += [torch.ops.dropkit.choose.default]

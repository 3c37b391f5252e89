"""Which units each sub-network keeps: a fixed number of those that were kept least often."""

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

_REMEMBERED = 8  # choices: of a pass that is computed again, its seed comes again


class Choice:
    """Balanced random choices among ``size`` units.

    Each keeps, of all units, those that were kept least often so far, and of these a random set.
    Every set is as likely as any other, but one choice makes up for the one before: what half the
    units left out, the other half takes. So the noise of the masks cancels over a few steps where
    that of independent masks adds up.

    Unit i of group g has the number (times kept, ⌊word / 2⌋, i) with word i mod 4 of Philox4x32-10
    of the counter (⌊i / 4⌋, g, rank's low half, rank's high half), whose key is a seed drawn from
    torch's default generator. The smallest are kept; group g + 1 comes after group g. Data-parallel
    ranks, whose generators may agree, differ by the counter. All of it is on the CPU, so that the
    choice does not depend on the device.

    A seed that was drawn lately gives the same choice again, and is not counted twice, so that
    activation checkpointing recomputes what it computed, if it restores the generators.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept = np.zeros(size, np.int64)  # times, those that all have left out
        self._recent: dict[tuple[int, int, int, int], Tensor] = {}
        self._place = next(_numbers)
        _places[self._place] = self

    def __reduce__(self) -> Any:
        return Choice, (self.size,)  # copies and pickles begin anew

    def draw(self, keep: int, groups: int) -> Tensor:
        """Draw ``keep`` units for each group, in ascending order: (groups, keep)."""
        transformed = torch._C._are_functorch_transforms_active()
        if transformed or torch.compiler.is_compiling():
            # The call's own empty tensor, which no compiler pass merges: two draws are not one. A
            # random one for vmap, which refuses it, or makes one for each sample, as it is told.
            make = torch.rand if transformed else torch.empty
            call = make(0, device="cpu")
            return torch.ops.dropkit.choose(call, self._place, keep, groups)  # type: ignore[no-any-return]
        return self.settle(keep, groups)

    def settle(self, keep: int, groups: int) -> Tensor:
        """Draw, in eager code."""
        drawn = keep, groups, int(seeds.draw(torch.device("cpu"), None)), data_rank()
        if drawn not in self._recent:
            if len(self._recent) == _REMEMBERED:
                del self._recent[next(iter(self._recent))]
            self._recent[drawn] = choose(self._kept, *drawn)
        return self._recent[drawn]


_numbers = count()
_places: WeakValueDictionary[int, Choice] = WeakValueDictionary()


def choose(kept: np.ndarray[Any, Any], keep: int, groups: int, seed: int, stream: int) -> Tensor:
    """Choose from a seed, and count in ``kept``, how often each unit was, less the smallest."""
    if _matrix.kernel is None:
        return reference(kept, keep, groups, seed, stream)
    chosen = np.empty((groups, keep), np.int64)
    _matrix.kernel.choose(
        chosen.ctypes.data, kept.ctypes.data, groups, len(kept), keep, seed, stream
    )
    return torch.from_numpy(chosen)


def reference(kept: np.ndarray[Any, Any], keep: int, groups: int, seed: int, stream: int) -> Tensor:
    """The definition of ``choose``, in torch's operations."""
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
    register_lowering()  # before a compiler asks for it
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

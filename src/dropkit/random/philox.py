"""The definition of a mask: (seed, stream, element index) → 16 random bits, in torch integers.

The CPU and CUDA kernels reproduce the results of this file bit by bit. The code runs on any device
with 64-bit integers. ``docs/masks.md`` describes the layout.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK32 = 0xFFFFFFFF

#: Version of the definition. Compiled kernels contain this version, so that an old kernel is never
#: used with a new reference. The version is an argument of operators, so that compilers do not
#: reuse caches of an old version.
DEFINITION = 2

_CHUNK = 1 << 16  # counters per chunk: fits in cache, and torch uses two threads
_ONE_THREAD = 32768  # maximum number of elements for which torch uses one thread


def philox4x32(counter: Tensor | Sequence[int], key: Tensor | Sequence[int]) -> Tensor:
    """Compute Philox4x32-10: four random words from a counter of four words and a key of two.

    Ten rounds of ``(c0, c1, c2, c3) ← (hi(M1·c2) ⊕ c1 ⊕ k0, lo(M1·c2), hi(M0·c0) ⊕ c3 ⊕ k1,
    lo(M0·c0))``. M0 and M1 are constant multipliers; hi and lo are the high and low 32 bits. After
    each round, two fixed numbers, the Weyl constants, are added to the key (k0, k1).

    Args:
        counter: words in [0, 2³²), int64, shape (…, 4).
        key: words in [0, 2³²), int64, shape (…, 2); broadcasts against the counter.

    Returns:
        The random words in [0, 2³²), int64, shape (…, 4).

    Raises:
        ValueError: the last dimension is not 4 (counter) or 2 (key).

    >>> [f"{word:08x}" for word in philox4x32([0, 0, 0, 0], [0, 0]).tolist()]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']

    Reference: Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
    """
    if not isinstance(counter, Tensor):  # keep a tensor on its device
        counter = torch.tensor(counter)
    counter = counter.to(torch.int64)
    key = torch.as_tensor(key, dtype=torch.int64, device=counter.device)
    if counter.shape[-1:] != (4,) or key.shape[-1:] != (2,):
        raise ValueError(
            "the last dimension must be 4 for the counter and 2 for the key, got shapes "
            f"{tuple(counter.shape)} and {tuple(key.shape)}"
        )
    k0, k1 = key.unbind(-1)
    c0, c1, c2, c3 = (word + torch.zeros_like(k0) for word in counter.unbind(-1))
    return torch.stack(_rounds(c0, c1, c2, c3, k0, k1), dim=-1)


def philox_words(seed: int, counter: int) -> tuple[int, int, int, int]:
    """Compute the words of one counter below 2⁶⁴ with Python integers.

    >>> [f"{word:08x}" for word in philox_words(0, 0)]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    k0, k1 = seed & MASK32, seed >> 32 & MASK32
    c0, c1, c2, c3 = counter & MASK32, counter >> 32, 0, 0
    for _ in range(10):
        left, right = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1 = (right >> 32) ^ c1 ^ k0, right & MASK32
        c2, c3 = (left >> 32) ^ c3 ^ k1, left & MASK32
        k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    return c0, c1, c2, c3


def _rounds(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any, rounds: int = 10) -> list[Any]:
    """Run rounds in place on tensors or arrays."""
    array = isinstance(c0, np.ndarray)
    shift: Any = np.right_shift if array else torch.bitwise_right_shift
    free = np.empty_like(c0) if array else torch.empty_like(c0)
    for _ in range(rounds):
        # The low 64 bits of a product are correct even if int64 overflows.
        c0 *= MULTIPLIERS[0]
        c2 *= MULTIPLIERS[1]
        shift(c2, 32, out=free)
        free ^= c1
        free ^= k0
        free &= MASK32
        shift(c0, 32, out=c1)
        c1 ^= c3
        c1 ^= k1
        c1 &= MASK32
        c0, c1, c2, c3, free = free, c2, c1, c0, c3
        k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    c1 &= MASK32
    c3 &= MASK32
    return [c0, c1, c2, c3]


def words(count: int, seed: Tensor, stream: int, offset: int = 0) -> Iterator[Tensor]:
    """Yield the 16-bit words of the elements ``offset … offset + count``, chunk by chunk.

    Element i uses 16-bit word i mod 8 of counter ⌊i/8⌋. Word 2w is the low half of Philox's 32-bit
    word w, and word 2w + 1 the high half.

    Args:
        count: number of elements.
        seed: int64 scalar tensor, read as 64 unsigned bits; the words are on its device.
        stream: index of the random stream, 64 bits.
        offset: index of the first element.

    Yields:
        A flat int16 tensor of the words minus 2¹⁵, because torch does not compare unsigned numbers.

    >>> [(word.int() + 2**15).tolist() for word in words(3, torch.tensor(0), 0, offset=6)]
    [[56280, 39680, 52388]]
    """
    key = int(seed)
    start, stop = offset, offset + count
    while start < stop:
        first = start // 8
        turn = ((first >> 32) + 1) << 32  # counters of a chunk have the same high half
        last = min(-(-stop // 8), first + _CHUNK, turn)
        end = min(stop, last * 8)
        four = _blocks(first, last - first, key, stream, seed.device)
        yield _halves(four, seed.device)[start - first * 8 : end - first * 8]
        start = end


def _blocks(first: int, count: int, key: int, stream: int, device: torch.device) -> list[Any]:
    """Return Philox's words for ``count`` counters from ``first`` on, with the same high half.

    The first two rounds are written separately, because most words are still equal for all
    counters.
    """
    k0, k1 = key & MASK32, key >> 32 & MASK32
    high, c2, c3 = first >> 32, stream & MASK32, stream >> 32 & MASK32
    left = _fastest(torch.arange(first & MASK32, (first & MASK32) + count, device=device))
    left *= MULTIPLIERS[0]
    one = c2 * MULTIPLIERS[1]
    c0, c1 = (one >> 32) ^ high ^ k0, one & MASK32
    right = left >> 32
    right ^= c3 ^ k1
    right &= MASK32
    k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    right *= MULTIPLIERS[1]
    one = c0 * MULTIPLIERS[0]
    start = right >> 32
    start ^= c1 ^ k0
    start &= MASK32
    left ^= (one >> 32) ^ k1
    left &= MASK32
    k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    same = torch.full((count,), one & MASK32, device=device)
    return _rounds(start, right, left, _fastest(same), k0, k1, rounds=8)


def _halves(four: list[Any], device: torch.device) -> Tensor:
    """Return the eight 16-bit words of each counter, minus 2¹⁵, in the order of the elements."""
    for low, high in (four[:2], four[2:]):
        high <<= 32
        high |= low
    pairs = torch.stack([torch.as_tensor(high, device=device) for high in four[1::2]], dim=1)
    halves = pairs.view(torch.int16).bitwise_xor_(-(1 << 15))
    return (halves if sys.byteorder == "little" else halves.view(-1, 4).flip(1)).view(-1)


def _fastest(x: Tensor) -> Any:
    """Return ``x``, or a NumPy view of ``x`` if torch would use one thread, where NumPy is faster.

    >>> _fastest(torch.arange(2))
    array([0, 1], dtype=uint64)
    """
    alone = x.numel() <= _ONE_THREAD or torch.get_num_threads() == 1
    return x.numpy().view(np.uint64) if x.is_cpu and alone else x

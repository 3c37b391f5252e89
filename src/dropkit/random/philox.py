"""The definition of a mask: (seed, stream, element index) → 16 random bits, in torch integers.

This file is the truth that the CPU and CUDA kernels reproduce bit by bit; it runs on any device
that has 64-bit integers. ``docs/masks.md`` spells the layout out.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
MASK32 = 0xFFFFFFFF

LANES = 16  # counters in a group: one 512-bit vector of 32-bit words
GROUP = 8 * LANES  # elements in a group: a counter gives eight 16-bit words
_CHUNK = 512 * GROUP  # elements at a time, so that the reference's integers stay in cache


def philox4x32(counter: Tensor | Sequence[int], key: Tensor | Sequence[int]) -> Tensor:
    """Philox4x32-10: a counter of four 32-bit words and a key of two → four random words.

    Ten rounds of ``(c0, c1, c2, c3) ← (hi(M1·c2) ⊕ c1 ⊕ k0, lo(M1·c2), hi(M0·c0) ⊕ c3 ⊕ k1,
    lo(M0·c0))``; the key grows by the Weyl constants between the rounds.

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
    counter = torch.as_tensor(counter, dtype=torch.int64)
    key = torch.as_tensor(key, dtype=torch.int64, device=counter.device)
    if counter.shape[-1:] != (4,) or key.shape[-1:] != (2,):
        raise ValueError(
            "the last dimension must be 4 for the counter and 2 for the key, got shapes "
            f"{tuple(counter.shape)} and {tuple(key.shape)}"
        )
    rounds = _rounds(*counter.unbind(-1), *key.unbind(-1))
    return torch.stack(torch.broadcast_tensors(*rounds), dim=-1)


def _rounds(
    c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor, k1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    for _ in range(10):
        # The low 64 bits of a product are right even where int64 wraps around.
        left, right = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0 = (right >> 32) & MASK32 ^ c1 ^ k0
        c2 = (left >> 32) & MASK32 ^ c3 ^ k1
        c1, c3 = right & MASK32, left & MASK32
        k0, k1 = (k0 + WEYL[0]) & MASK32, (k1 + WEYL[1]) & MASK32
    return c0, c1, c2, c3


def words(count: int, seed: Tensor, stream: int, offset: int = 0) -> Iterator[Tensor]:
    """Yield the 16-bit words of elements ``offset … offset + count``, chunk by chunk.

    Element i takes word j of counter b, with i = 128·g + 16·j + l and b = 16·g + l, 0 ≤ l < 16:
    word 2w is the low half and word 2w + 1 the high half of Philox's word w.

    Args:
        count: how many elements.
        seed: int64 scalar tensor, read as 64 unsigned bits; its device is the words' device.
        stream: 64 unsigned bits.
        offset: index of the first element.

    Yields:
        int64 tensors of words in [0, 2¹⁶), ``count`` in all.
    """
    device = seed.device
    k0, k1 = seed & MASK32, (seed >> 32) & MASK32
    c2 = torch.tensor(stream & MASK32, device=device)
    c3 = torch.tensor(stream >> 32 & MASK32, device=device)
    start, stop = offset, offset + count
    while start < stop:
        first = start // GROUP
        last = -(-min(stop, first * GROUP + _CHUNK) // GROUP)
        block = torch.arange(first * LANES, last * LANES, device=device)
        drawn = torch.empty(last - first, 8, LANES, dtype=torch.int64, device=device)
        for w, word in enumerate(_rounds(block & MASK32, block >> 32, c2, c3, k0, k1)):
            lanes = word.view(-1, LANES)
            torch.bitwise_and(lanes, 0xFFFF, out=drawn[:, 2 * w])
            torch.bitwise_right_shift(lanes, 16, out=drawn[:, 2 * w + 1])
        end = min(stop, last * GROUP)
        yield drawn.view(-1)[start - first * GROUP : end - first * GROUP]
        start = end

"""Compute seeds for CUDA tensors on the host, so that a call launches one kernel, not two."""

from functools import cache

import torch

from dropkit.random.philox import philox_words

DRAWS = 2**63 - 1  # a drawn seed is a non-negative int64


def draw_on_host(device: torch.device) -> int | None:
    """Draw the number that ``torch.randint(2**63 - 1, ())`` draws on a CUDA device.

    The generator advances as if torch had drawn the number.

    Returns:
        The number, or None if the number must be drawn on the device, because a CUDA graph is being
        recorded, or because this version of torch draws other numbers, which the first call tests.
    """
    if torch.cuda.is_current_stream_capturing() or not _agrees(device.index):
        return None
    generator = torch.cuda.default_generators[device.index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    return _number(generator.initial_seed(), offset)


def _number(seed: int, offset: int) -> int:
    """Compute the number of cuRAND's Philox for the first thread, reduced as in torch."""
    first, second, *_ = philox_words(seed, offset // 4)
    return (first << 32 | second) % DRAWS


@cache
def _agrees(index: int) -> bool:
    generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    expected = _number(generator.initial_seed(), offset)
    try:
        drawn = int(torch.randint(DRAWS, (), device=torch.device("cuda", index)))
    except RuntimeError:  # waiting for the GPU is not allowed
        drawn = -1
    moved = generator.get_offset() - offset
    generator.set_offset(offset)
    return drawn == expected and moved == 4

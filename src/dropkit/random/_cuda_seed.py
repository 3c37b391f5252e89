"""Seeds for CUDA tensors, computed on the host: a call then starts one kernel and not two."""

from functools import cache

import torch

from dropkit.random.philox import philox_words

DRAWS = 2**63 - 1  # a drawn seed is a non-negative int64


def draw_on_host(device: torch.device) -> int | None:
    """Draw what ``torch.randint(2**63 - 1, ())`` would draw on a CUDA device, and as it would.

    Returns:
        None where it must be drawn on the device: while a CUDA graph is recorded, and where torch
        draws other numbers than these, which the first draw finds out.
    """
    if torch.cuda.is_current_stream_capturing() or not _agrees(device.index):
        return None
    generator = torch.cuda.default_generators[device.index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    return _number(generator.initial_seed(), offset)


def _number(seed: int, offset: int) -> int:
    """What cuRAND's Philox, so used, gives its first thread, reduced as torch does."""
    first, second, *_ = philox_words(seed, offset // 4)
    return (first << 32 | second) % DRAWS


@cache
def _agrees(index: int) -> bool:
    generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    expected = _number(generator.initial_seed(), offset)
    try:
        drawn = int(torch.randint(DRAWS, (), device=torch.device("cuda", index)))
    except RuntimeError:  # the program forbids to wait for the GPU
        drawn = -1
    moved = generator.get_offset() - offset
    generator.set_offset(offset)
    return drawn == expected and moved == 4

"""Choose the code that computes noise: CPU kernel, CUDA kernel, or the torch reference.

All of them give the same bits, so the choice only affects speed.
"""

import ctypes
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from dropkit.random import reference
from dropkit.random.normal import quantiles
from dropkit.random.philox import DEFINITION

try:
    from dropkit.random import _kernel
except ImportError:  # installed without a compiler
    _kernel = None  # type: ignore[assignment]

LEVELS = 1 << 16  # number of different random words

# Index of each dtype in the kernel's table of loops, for `drop`; the loops of `blur` follow.
_TYPES = {torch.float32: 1, torch.bfloat16: 2, torch.float16: 3, torch.float64: 4}
_KEEP, _BLUR = 0, len(_TYPES)


def share_threads(kernel: Any) -> None:
    """Let a kernel use torch's OpenMP threads, so that no second thread pool competes with them."""
    try:
        team = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError):  # torch has another thread pool: use one thread
        return
    kernel.use_team(ctypes.cast(team, ctypes.c_void_p).value or 0)


if _kernel is not None and getattr(_kernel, "DEFINITION", 1) != DEFINITION:
    warnings.warn(
        "dropkit's C extension was built from another version of its source and is not used: "
        "masks are correct but slower; rebuild it with pip install --editable .",
        stacklevel=2,
    )
    _kernel = None  # type: ignore[assignment]
if _kernel is not None:
    share_threads(_kernel)


def backend(device: torch.device | str = "cpu") -> str:
    """Return which code computes noise on ``device``: "kernel", "triton" or "reference".

    >>> backend() in ("kernel", "reference")
    True
    """
    kind = torch.device(device).type
    if kind == "cpu" and _kernel is not None:
        return "kernel"
    return "triton" if kind == "cuda" and _triton() is not None else "reference"


@cache
def _triton() -> Any:
    return import_module("dropkit.random._triton") if find_spec("triton") else None


def mask(count: int, threshold: int, seed: Tensor, stream: int, offset: int) -> Tensor:
    """Return which of the elements ``offset … offset + count`` are kept, as a flat bool tensor."""
    kept = torch.empty(count, dtype=torch.bool, device=seed.device)
    if threshold in (0, LEVELS):
        return kept.fill_(threshold == 0)
    if seed.is_cpu and _kernel is not None:
        _run(_KEEP, None, kept, seed, stream, threshold, offset=offset)
        return kept
    return reference.mask(count, threshold, seed, stream, offset)


def drop(x: Tensor, threshold: int, scale: float, seeds: Tensor | int, stream: int) -> Tensor:
    """Return ``x · scale`` where the random word is at least ``threshold``, and 0 elsewhere.

    ``x`` is contiguous and consists of equal parts, one per seed; each part counts its elements
    from 0. An int is a seed on the host.
    """
    if threshold == 0:
        return x.clone()
    if threshold == LEVELS:
        return torch.zeros_like(x)
    if x.is_cpu and _kernel is not None:
        y = torch.empty_like(x)
        _run(_TYPES[x.dtype], x, y, _tensor(seeds, x), stream, threshold, scale)
        return y
    if backend(x.device) == "triton":
        return _triton().drop(x, threshold, scale, seeds, stream)  # type: ignore[no-any-return]
    return reference.drop(x, threshold, scale, _tensor(seeds, x), stream)


def blur(x: Tensor, sigma: float, seeds: Tensor | int, stream: int) -> Tensor:
    """Return ``x · (1 + sigma · z)`` with normal numbers z; parts as in ``drop``."""
    if x.is_cpu and _kernel is not None:
        y = torch.empty_like(x)
        _run(_BLUR + _TYPES[x.dtype], x, y, _tensor(seeds, x), stream, 0, sigma, quantiles())
        return y
    if backend(x.device) == "triton":
        return _triton().blur(x, sigma, seeds, stream)  # type: ignore[no-any-return]
    return reference.blur(x, sigma, _tensor(seeds, x), stream)


def by_key(x: Tensor, key: Tensor, gaussian: bool, stream: int) -> Tensor:
    """Drop or blur with seeds and rates on a CUDA device, without copying them to the host."""
    return _triton().by_key(x, key, gaussian, stream)  # type: ignore[no-any-return]


def _tensor(seeds: Tensor | int, x: Tensor) -> Tensor:
    return seeds if isinstance(seeds, Tensor) else torch.full((), seeds, device=x.device)


def _run(
    piece: int,
    x: Tensor | None,
    y: Tensor,
    seeds: Tensor,
    stream: int,
    threshold: int,
    factor: float = 0.0,
    table: Tensor | None = None,
    offset: int = 0,
) -> None:
    seeds = seeds.contiguous()
    parts = seeds.numel()
    _kernel.run(
        piece,
        x.data_ptr() if x is not None else 0,
        y.data_ptr(),
        seeds.data_ptr(),
        parts,
        y.numel() // parts if parts else 0,
        stream & 0xFFFFFFFFFFFFFFFF,
        offset,
        threshold,
        factor,
        table.data_ptr() if table is not None else 0,
        torch.get_num_threads(),
    )

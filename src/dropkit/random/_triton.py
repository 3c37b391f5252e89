"""The CUDA kernel of the mask engine in Triton: draw, scale and multiply in one pass.

The results equal those of philox.py and reference.py bit by bit. A program processes a vector of
elements. Neighbouring elements in a thread share their counter, and so one call of Philox.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dropkit.random.normal import quantiles

_BLOCK = 1024  # elements per program
_REAL = {
    torch.float32: tl.float32,
    torch.bfloat16: tl.float32,
    torch.float16: tl.float32,
    torch.float64: tl.float64,
}
_kernels: dict[tuple[Any, ...], Any] = {}  # compiled kernels, by the criteria in _launch


@triton.jit
def _philox(counter, seed, stream):
    c0 = (counter & 0xFFFFFFFF).to(tl.uint32)
    c1 = (counter >> 32).to(tl.uint32)
    c2 = (stream & 0xFFFFFFFF).to(tl.uint32) + c0 * 0
    c3 = ((stream >> 32) & 0xFFFFFFFF).to(tl.uint32) + c0 * 0
    k0 = (seed & 0xFFFFFFFF).to(tl.uint32)
    k1 = ((seed >> 32) & 0xFFFFFFFF).to(tl.uint32)
    m0 = tl.full(c0.shape, 0xD2511F53, tl.uint32)
    m1 = tl.full(c0.shape, 0xCD9E8D57, tl.uint32)
    w0 = tl.full((), 0x9E3779B9, tl.uint32)
    w1 = tl.full((), 0xBB67AE85, tl.uint32)
    for _ in tl.static_range(10):
        left, right = c0, c2
        c0 = tl.umulhi(m1, right) ^ c1 ^ k0
        c2 = tl.umulhi(m0, left) ^ c3 ^ k1
        c1 = m1 * right
        c3 = m0 * left
        k0 = k0 + w0
        k1 = k1 + w1
    return c0, c1, c2, c3


@triton.jit
def _words(index, seed, stream):
    # Use a division: with a shift, the compiler does not see that neighbours share a counter.
    c0, c1, c2, c3 = _philox(index // 8, seed, stream)
    j = (index % 8).to(tl.int32)
    four = tl.where(j < 4, tl.where(j < 2, c0, c1), tl.where(j < 6, c2, c3))
    return ((four >> (16 * (j % 2))) & 0xFFFF).to(tl.int32)


@triton.jit
def _noisy(x, index, inside, seed, stream, threshold, factor, table, gaussian: tl.constexpr):
    number = tl.load(x + index, mask=inside).to(factor.dtype)
    word = _words(index, seed, stream)
    if gaussian:
        return number * (1.0 + factor * tl.load(table + word).to(factor.dtype))
    else:
        return tl.where(word >= threshold, number * factor, 0.0)


# Typed and not specialized, so that one compiled kernel works for every size, seed, stream and
# rate.
@triton.jit(do_not_specialize=["seed", "factor", "count", "blocks", "stream", "threshold"])
def _multiply(
    x,
    y,
    seeds,
    table,
    seed: tl.int64,
    factor: tl.float64,
    count: tl.int64,
    blocks: tl.int64,
    stream: tl.int64,
    threshold: tl.int32,
    source: tl.constexpr,
    gaussian: tl.constexpr,
    real: tl.constexpr,
    block: tl.constexpr,
    aligned: tl.constexpr,
):
    # Use one axis, because the others are limited to 65,535.
    part = (tl.program_id(0) // blocks).to(tl.int64)
    first = (tl.program_id(0) % blocks).to(tl.int64) * block
    stream = stream.to(tl.int64)
    f = tl.full((1,), factor, real)
    if source == 0:  # noqa: SIM108  Triton needs the statement
        seed = seed.to(tl.int64)
    else:  # one seed per part, or a key of two numbers
        seed = tl.load(seeds + source * part)
    if source == 2:
        packed = tl.load(seeds + 2 * part + 1)
        if gaussian:
            f = tl.full((1,), packed.to(tl.float64, bitcast=True).to(real), real)
        else:
            threshold = (packed >> 32).to(tl.int32)
            if real == tl.float64:
                f = tl.full((1,), 65536.0 / (65536 - threshold).to(real), real)
            else:
                low = (packed & 0xFFFFFFFF).to(tl.uint32)
                f = tl.full((1,), low.to(real, bitcast=True), real)
    start = part * count
    if aligned:  # every part starts at a multiple of 16
        start = tl.multiple_of(start, 16)
    x += start
    y += start
    index = first + tl.arange(0, block)
    # Without a mask, numbers are loaded as vectors, and their words are computed together.
    if first + block <= count:
        noisy = _noisy(x, index, None, seed, stream, threshold, f, table, gaussian)
        tl.store(y + index, noisy.to(y.dtype.element_ty))
    else:
        inside = index < count
        noisy = _noisy(x, index, inside, seed, stream, threshold, f, table, gaussian)
        tl.store(y + index, noisy.to(y.dtype.element_ty), mask=inside)


def drop(x: Tensor, threshold: int, scale: float, seeds: Tensor | int, stream: int) -> Tensor:
    """Return ``x · scale`` where the word is at least ``threshold``, and 0 elsewhere."""
    return _launch(x, seeds, stream, threshold, scale)


def blur(x: Tensor, sigma: float, seeds: Tensor | int, stream: int) -> Tensor:
    """Return ``x · (1 + sigma · z)`` with normal numbers z."""
    return _launch(x, seeds, stream, 0, sigma, gaussian=True)


def by_key(x: Tensor, key: Tensor, gaussian: bool, stream: int) -> Tensor:
    """Drop or blur with a key, int64 of shape (…, 2): seeds and ``Noise.packed``."""
    return _launch(x, key, stream, 0, 0.0, gaussian, key.numel() // 2)


def _launch(
    x: Tensor,
    seeds: Tensor | int,
    stream: int,
    threshold: int,
    factor: float,
    gaussian: bool = False,
    keys: int = 0,
) -> Tensor:
    device = x.device
    if x.is_cuda and device.index != torch.cuda.current_device():
        with torch.cuda.device_of(x):  # Triton launches on the current device
            return _launch(x, seeds, stream, threshold, factor, gaussian, keys)
    y, size = torch.empty_like(x), x.numel()
    if not size:
        return y
    if isinstance(seeds, Tensor):
        source, parts, seed, seeds = (2, keys, 0, seeds) if keys else (1, seeds.numel(), 0, seeds)
        seeds = seeds.contiguous()
        end = seeds.data_ptr() % 16
    else:
        source, parts, seed, seeds, end = 0, 1, seeds, x, 0
    count = size // parts
    blocks = -(-count // _BLOCK)
    aligned = parts == 1 or count % 16 == 0
    arguments = (
        x, y, seeds, _table(device) if gaussian else x, seed, factor, count, blocks, stream,
        threshold, source, gaussian, _REAL[x.dtype], _BLOCK, aligned,
    )  # fmt: skip
    # In every call, Triton searches for the matching compiled kernel, which takes longer than most
    # kernels run. So cache the kernels by Triton's criteria that differ between calls.
    large = size * x.element_size() >= 1 << 31  # AMD has other kernels for smaller tensors
    known = device, x.dtype, source, gaussian, aligned, large, x.data_ptr() % 16, end
    kernel = _kernels.get(known)
    if kernel is None:
        # Disable fused multiply-add, which would change the last bit of Gaussian noise.
        _kernels[known] = _multiply[(blocks * parts,)](*arguments, enable_fp_fusion=False)
    else:
        start(kernel, blocks * parts, device, arguments)
    return y


def start(kernel: Any, programs: int, device: torch.device, arguments: tuple[Any, ...]) -> None:
    """Start a compiled kernel with its launcher; ``kernel[grid](…)`` takes four times as long."""
    try:
        stream = torch._C._cuda_getCurrentRawStream(device.index)
        run, function, metadata = kernel.run, kernel.function, kernel.packed_metadata
        run(programs, 1, 1, stream, function, metadata, None, None, None, *arguments)
    except (AttributeError, TypeError):  # other Triton versions
        kernel[(programs, 1, 1)](*arguments)


@cache
def _table(device: torch.device) -> Tensor:
    return quantiles().to(device)

"""The CUDA kernel of the mask engine: noise drawn, scaled and multiplied in one pass, in Triton.

Bit by bit the function that philox.py and reference.py define. A program takes a vector of
elements; those that a thread holds side by side share their counter, and so one call of Philox.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from dropkit.random.normal import quantiles

_BLOCK = 1024  # elements for each program
_kernels: dict[tuple[Any, ...], Any] = {}  # compiled, by what each was chosen for


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
    # A division, not a shift, in which the compiler does not see that neighbours share a counter.
    c0, c1, c2, c3 = _philox(index // 8, seed, stream)
    j = (index % 8).to(tl.int32)
    four = tl.where(j < 4, tl.where(j < 2, c0, c1), tl.where(j < 6, c2, c3))
    return ((four >> (16 * (j % 2))) & 0xFFFF).to(tl.int32)


@triton.jit
def _drop(number, word, threshold, factor, table):
    return tl.where(word >= threshold, number * factor, 0.0)


@triton.jit
def _blur(number, word, threshold, factor, table):
    return number * (1.0 + factor * tl.load(table + word).to(factor.dtype))


# Typed and not specialized, so that one compiled kernel serves every size, stream and rate.
@triton.jit(do_not_specialize=["factor", "count", "blocks", "stream", "threshold"])
def _multiply(
    x,
    y,
    seeds,
    table,
    factor: tl.float64,
    count: tl.int64,
    blocks: tl.int64,
    stream: tl.int64,
    threshold: tl.int32,
    product: tl.constexpr,
    real: tl.constexpr,
    block: tl.constexpr,
    aligned: tl.constexpr,
):
    # One axis, since the others end at 65,535.
    part = (tl.program_id(0) // blocks).to(tl.int64)
    first = (tl.program_id(0) % blocks).to(tl.int64) * block
    seed, stream = tl.load(seeds + part), stream.to(tl.int64)
    start = part * count
    if aligned:  # every part starts where a vector may
        start = tl.multiple_of(start, 16)
    x += start
    y += start
    index = first + tl.arange(0, block)
    f = tl.full((1,), factor, real)
    # Only without a mask are numbers loaded as vectors, and their words computed together.
    if first + block <= count:
        number = tl.load(x + index).to(real)
        noisy = product(number, _words(index, seed, stream), threshold, f, table)
        tl.store(y + index, noisy.to(y.dtype.element_ty))
    else:
        inside = index < count
        number = tl.load(x + index, mask=inside).to(real)
        noisy = product(number, _words(index, seed, stream), threshold, f, table)
        tl.store(y + index, noisy.to(y.dtype.element_ty), mask=inside)


def drop(x: Tensor, threshold: int, scale: float, seeds: Tensor, stream: int) -> Tensor:
    """Return ``x · scale`` where the word reaches the threshold and 0 elsewhere."""
    return _launch(_drop, x, threshold, scale, seeds, stream, seeds)


def blur(x: Tensor, sigma: float, seeds: Tensor, stream: int) -> Tensor:
    """Return ``x · (1 + sigma · z)``, z the normal numbers of the words."""
    return _launch(_blur, x, 0, sigma, seeds, stream, _table(x.device))


def _launch(
    product: Any,
    x: Tensor,
    threshold: int,
    factor: float,
    seeds: Tensor,
    stream: int,
    table: Tensor,
) -> Tensor:
    if x.is_cuda and x.device.index != torch.cuda.current_device():
        with torch.cuda.device_of(x):  # Triton launches on the current device, wherever x lies
            return _launch(product, x, threshold, factor, seeds, stream, table)
    y = torch.empty_like(x)
    parts, seeds = seeds.numel(), seeds.contiguous()
    if x.numel():
        count = x.numel() // parts
        blocks = -(-count // _BLOCK)
        real = tl.float64 if x.dtype == torch.float64 else tl.float32
        aligned = parts == 1 or count % 16 == 0
        arguments = (
            x, y, seeds, table, factor, count, blocks, stream, threshold, product, real, _BLOCK,
            aligned,
        )  # fmt: skip
        # Triton searches in every call for the compiled kernel that fits, which takes longer than
        # most of them run. These are its criteria, of what is not the same in all calls.
        large = x.untyped_storage().nbytes() >= 1 << 31  # for AMD, where smaller ones are special
        ends = x.data_ptr() % 16, seeds.data_ptr() % 16
        known = x.device, x.dtype, product, aligned, large, *ends
        kernel = _kernels.get(known)
        if kernel is None:
            # A fused multiply-add would change the last bit of Gaussian noise.
            _kernels[known] = _multiply[(blocks * parts,)](*arguments, enable_fp_fusion=False)
        else:
            kernel[(blocks * parts, 1, 1)](*arguments)
    return y


@cache
def _table(device: torch.device) -> Tensor:
    return quantiles().to(device)

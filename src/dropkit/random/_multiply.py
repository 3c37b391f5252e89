"""Multiplicative noise as one operation.

``y = x ⊙ m(seed)`` is linear in x, so the backward pass is the same operation with the same seed.
So autograd only stores the seed, and derivatives of every order are supported.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.random._functions import FLOATS, apply, apply_plainly, is_plain
from dropkit.random._operators import rate_tensor
from dropkit.random._portable import is_exported, multiply_portably, refuse_in_onnx
from dropkit.random._product import Kind, noise
from dropkit.random._shards import is_sharded, multiply_shards
from dropkit.random.philox import DEFINITION
from dropkit.random.ranks import data_rank
from dropkit.random.seed import as_stream, is_plain_seed, own_call, settle, settle_plainly


def multiply(
    x: Tensor,
    kind: Kind,
    p: float | Tensor,
    *,
    shared_dims: Sequence[int] = (),
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
    as_mask: bool = False,
) -> Tensor:
    """Multiply ``x`` by noise of mean 1: ``y = x ⊙ m(seed, stream, element index)``.

    Args:
        x: float32, float64, bfloat16 or float16, any shape. The index of an element is its
            row-major position in the shape, for any strides. For a ``DTensor``, processes with the
            same part draw the same noise if they have the same random state.
        kind: ``"bernoulli"``, m ∈ {0, 1/(1 − p)}, or ``"gaussian"``, m = 1 + √(p/(1 − p))·z.
        p: rate in [0, 1], below 1 for Gaussian noise. Pass a scalar tensor to change p without
            recompiling.
        shared_dims: dimensions along which one value is shared; negative ones count from the end.
        seed: an int in [0, 2⁶⁴), or a tensor from ``draw_seed``; or an int64 tensor with one seed
            for each slice along the leading dimensions. Each slice counts its elements from 0.
            Default: drawn.
        stream: index of the random stream, in [0, 2⁶⁴). Default: 0 if ``seed`` is given; otherwise
            the data-parallel rank, so that replicas draw different noise.
        generator: draw the seed from this generator instead of the default one.
        as_mask: whether the caller uses the result as a mask for another computation. If true,
            the call is not exported as dropout, which other tools could switch off.

    Returns:
        A tensor like ``x``.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed, stream or shared_dims out of range; p needs a gradient; both seed and
            generator given.
    """
    if isinstance(p, Tensor) and p.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "p must not require a gradient, because a mask of zeros and ones has no gradient for "
            "its rate; use ConcreteDropout to learn the rate, or pass p.detach()"
        )
    compiling = torch.compiler.is_compiling()
    if not compiling and is_plain(x) and is_plain_seed(seed, x):
        law = noise(p.item() if isinstance(p, Tensor) else float(p), kind)
        shared = canonical_dims(shared_dims, x.dim()) if shared_dims else ()
        one, stream = settle_plainly(x, seed, stream, generator)
        return apply_plainly(x, (one, law, stream, shared))
    if x.is_nested:
        raise TypeError(
            "the input must be a dense tensor, got a nested one; give the values of "
            "a jagged one, torch.nested.nested_tensor_from_jagged(layer(x.values()), x.offsets())"
        )
    if is_sharded(x):
        dims = canonical_dims(shared_dims, x.dim())

        def multiply_part(local: Tensor, part: int) -> Tensor:
            own = stream if seed is not None else (stream or data_rank()) + (part << 40)
            return multiply(
                local, kind, p, shared_dims=dims, seed=seed, stream=own, generator=generator
            )

        return multiply_shards(x, multiply_part, dims, seed is not None)
    if x.is_complex():
        raise TypeError(
            f"the input must be real, got {x.dtype}; drop whole complex numbers with "
            "x * layer(torch.ones_like(x.real))"
        )
    if x.dtype not in FLOATS or x.layout is not torch.strided:
        raise TypeError(
            "the input must be a dense tensor of float32, float64, bfloat16 or float16, "
            f"got {x.dtype}, {x.layout}; convert it first, e.g. x.float()"
        )
    recorded = compiling or torch._C._get_tracing_state()
    if recorded and is_exported(kind, seed is not None, as_mask):
        return multiply_portably(x, kind, p, canonical_dims(shared_dims, x.dim()))
    if torch._C._get_tracing_state():
        refuse_in_onnx()
    if recorded:
        return _record(x, kind, p, shared_dims, seed, stream, generator, compiling)
    law = noise(float(p), kind)
    seeds, stream = settle(x, seed, stream, generator, compiling)
    return apply(x, seeds, law, stream, _dims_behind(seeds, x, shared_dims))


def _record(
    x: Tensor,
    kind: Kind,
    p: float | Tensor,
    shared_dims: Sequence[int],
    seed: int | Tensor | None,
    stream: int | None,
    generator: torch.Generator | None,
    compiling: bool,
) -> Tensor:
    """Multiply with operators for recorded programs; the program checks the rate when it runs."""
    if compiling and seed is None and generator is None:
        key = torch.ops.dropkit.draw_key(rate_tensor(p), own_call(x), x.device, (), kind)
        stream = data_rank() if stream is None else as_stream(stream)
        shared = canonical_dims(shared_dims, x.dim()) if shared_dims else ()
    else:
        seeds, stream = settle(x, seed, stream, generator, compiling)
        key = torch.ops.dropkit.make_key(seeds, rate_tensor(p), kind)
        shared = _dims_behind(seeds, x, shared_dims)
    return torch.ops.dropkit.multiply(x, key, kind, stream, shared, DEFINITION)  # type: ignore[no-any-return]


def _dims_behind(seeds: Tensor, x: Tensor, shared_dims: Sequence[int]) -> tuple[int, ...]:
    """Return the shared dimensions, counted after the leading dimensions of the seed tensor."""
    if seeds.shape != x.shape[: seeds.dim()]:
        raise ValueError(
            "a seed tensor must be a scalar or have the shape of the input's leading dimensions, "
            f"got {tuple(seeds.shape)} for an input of {tuple(x.shape)}"
        )
    return canonical_dims(shared_dims, x.dim() - seeds.dim()) if shared_dims else ()


def canonical_dims(dims: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return ``dims`` counted from 0 and in order, for a tensor of ``rank`` dimensions.

    >>> canonical_dims((-1, 1), 4)
    (1, 3)
    """
    if not all(-rank <= dim < rank for dim in dims):
        raise ValueError(
            f"shared_dims must lie in [{-rank}, {rank}) for an input of {rank} dimensions, "
            f"got {tuple(dims)}"
        )
    return tuple(sorted({dim % rank for dim in dims}))

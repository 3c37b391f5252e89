"""Multiplicative noise as one opaque operator, which is its own derivative's operator too.

``y = x ⊙ m(seed)`` is linear in x, so that its backward pass is the same product with the same
seed: nothing but the seed is kept, and derivatives of every order come for free.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from dropkit.random._portable import is_exported, multiply_portably, refuse_in_onnx
from dropkit.random._product import Kind, check_rate, product
from dropkit.random._shards import is_sharded, multiply_shards
from dropkit.random.philox import DEFINITION
from dropkit.random.ranks import data_rank
from dropkit.random.seed import draw, settle

_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


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
        x: float32, float64, bfloat16 or float16, any shape. An element's index is its row-major
            position in that shape, whatever the strides. Of a ``DTensor``, processes that hold the
            same part draw the same noise if they were seeded alike.
        kind: ``"bernoulli"``, m ∈ {0, 1/(1 − p)}, or ``"gaussian"``, m = 1 + √(p/(1 − p))·z.
        p: rate in [0, 1], below 1 for Gaussian noise. Given as a scalar tensor, it can change
            without a compiled program being compiled again.
        shared_dims: dimensions along which one value is shared; negative ones count from the end.
        seed: 64 bits, as an int or as ``draw_seed`` returns them; or an int64 tensor with a seed
            for each slice along the leading dimensions, which counts its elements from 0.
            Default: drawn.
        stream: one of 2⁶⁴ independent sequences under a seed. Default: 0 for a given seed, the
            data-parallel rank for a drawn one, so that replicas draw different noise.
        generator: draw the seed from this generator instead of the default one.
        as_mask: whether the caller computes something else than the product from it, so that it
            is not enough for evaluation to make the noise 1.

    Returns:
        A tensor like ``x``.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: p, seed, stream or shared_dims out of range; p needs a gradient; both seed and
            generator given.
    """
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
    if x.dtype not in _FLOATS or x.layout is not torch.strided:
        raise TypeError(
            "the input must be a dense tensor of float32, float64, bfloat16 or float16, "
            f"got {x.dtype}, {x.layout}; convert it first, e.g. x.float()"
        )
    if isinstance(p, Tensor) and p.requires_grad and torch.is_grad_enabled():
        raise ValueError(
            "p must need no gradient, since a mask of zeros and ones has none for its rate; "
            "ConcreteDropout learns its rate, and p.detach() keeps this one as it is"
        )
    compiling = torch.compiler.is_compiling()
    recorded = compiling or torch._C._get_tracing_state()
    if recorded and is_exported(kind, seed is not None, as_mask):
        return multiply_portably(x, kind, p, canonical_dims(shared_dims, x.dim()))
    if torch._C._get_tracing_state():
        refuse_in_onnx()
    if not recorded:
        p = check_rate(float(p), kind)
    key, stream = settle(x, seed, stream, generator, compiling)
    if key.shape != x.shape[: key.dim()]:
        raise ValueError(
            "a seed tensor must be a scalar or have the shape of the input's leading dimensions, "
            f"got {tuple(key.shape)} for an input of {tuple(x.shape)}"
        )
    shared = canonical_dims(shared_dims, x.dim() - key.dim()) if shared_dims else ()
    if recorded:  # the rate is checked when the program runs
        return _operator(x, key, p, kind, stream, shared, DEFINITION)
    return _apply(x, key, p, kind, stream, shared, DEFINITION)


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


def _operator(x: Tensor, seed: Tensor, p: float | Tensor, *rest: Any) -> Tensor:
    if not isinstance(p, Tensor):
        # A product, because dynamo makes a float that changes an input of products alone.
        p = torch.ones((), dtype=torch.float64, device="cpu") * p
    return torch.ops.dropkit.multiply(x, seed, p, *rest)  # type: ignore[no-any-return]


def _apply(x: Tensor, *rest: Any) -> Tensor:
    """Multiply in eager code, by the shortest way that lets the derivatives asked for follow."""
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return _Multiply.apply(x, *rest)  # type: ignore[no-any-return, no-untyped-call]
    if x.requires_grad and torch.is_grad_enabled():
        return _Direct.apply(x, *rest)  # type: ignore[no-any-return, no-untyped-call]
    return _compute(x, *rest)


def _compute(
    x: Tensor,
    seed: Tensor,
    p: float | Tensor,
    kind: Kind,
    stream: int,
    shared: tuple[int, ...],
    definition: int,
) -> Tensor:
    """Go straight to the kernel if x is memory and nobody watches torch's operators.

    The kernel writes into memory unseen; a dispatch mode sees the operator.
    """
    stand_in = type(x) is not Tensor or x.is_meta or is_legacy_batchedtensor(x)
    watched = torch._C._len_torch_dispatch_stack() > 0
    if stand_in or watched or isinstance(p, Tensor):
        return _operator(x, seed, p, kind, stream, shared, definition)
    return product(x, seed, p, kind, stream, shared)


class _Multiply(torch.autograd.Function):
    """The operator's derivatives, backward and forward: the operator itself."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:  # one name, because torch binds them anew in every call
        return _compute(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, seed, *ctx.rest = inputs
        ctx.save_for_backward(seed)
        ctx.save_for_forward(seed)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _apply(grad, *ctx.saved_tensors, *ctx.rest), *[None] * 6

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        return _Multiply.apply(*_rows(info, in_dims, *inputs)), 0  # type: ignore[no-untyped-call]

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _Multiply.apply(tangent, *ctx.saved_tensors, *ctx.rest)  # type: ignore[no-any-return, no-untyped-call]


class _Direct(torch.autograd.Function):
    """The backward derivative alone, for which torch takes a shorter way."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seed: Tensor, *rest: Any) -> Tensor:
        ctx.save_for_backward(seed)
        ctx.rest = rest
        return _compute(x, seed, *rest)

    backward = staticmethod(_Multiply.backward)


def _rows(
    info: Any, in_dims: tuple[int | None, ...], x: Tensor, seed: Tensor, *rest: Any
) -> tuple[Any, ...]:
    """Give every sample of a vmap a leading row of x and a seed of its own."""
    x, seed = (
        tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip((x, seed), in_dims, strict=False)
    )
    return x, seed, *rest


_library: Any = torch.library.Library("dropkit", "DEF")  # type: ignore[no-untyped-call]
_library.define(
    "multiply(Tensor x, Tensor seed, Tensor p, str kind, int stream, int[] shared, int definition)"
    " -> Tensor",
    # A CUDA graph would keep the rate, which is read on the CPU.
    tags=(torch.Tag.pt2_compliant_tag, torch.Tag.cudagraph_unsafe),
)
_library.define(
    "draw_seed(Tensor like, Tensor call, SymInt[] shape) -> Tensor",
    tags=(
        torch.Tag.pt2_compliant_tag,
        torch.Tag.nondeterministic_seeded,
        torch.Tag.cudagraph_unsafe,
    ),
)


def _multiply(
    x: Tensor,
    seed: Tensor,
    p: Tensor,
    kind: Kind,
    stream: int,
    shared: Sequence[int],
    definition: int,
) -> Tensor:
    if definition != DEFINITION:
        raise RuntimeError(
            f"the program was recorded with definition {definition} of dropkit's masks, and this "
            f"version has definition {DEFINITION}; record it again"
        )
    return product(x, seed, check_rate(p.item(), kind), kind, stream, tuple(shared))


def _like(x: Tensor, *_: object) -> Tensor:
    refuse_in_onnx()
    return torch.empty_like(x)


def _seeds(like: Tensor, call: Tensor, shape: Sequence[int]) -> Tensor:
    return draw(like.device, None, shape)


def _empty_seeds(like: Tensor, call: Tensor, shape: Sequence[int]) -> Tensor:
    return like.new_empty(shape, dtype=torch.int64)


def _seed_for_each(
    info: Any, in_dims: tuple[int | None, ...], like: Tensor, call: Tensor, shape: Sequence[int]
) -> tuple[Tensor, int | None]:
    if info.randomness == "error":
        raise RuntimeError(
            "noise was drawn inside vmap with randomness='error'; pass randomness='same' or "
            "'different' to vmap"
        )
    if info.randomness == "same":
        return torch.ops.dropkit.draw_seed(like, call, shape), None
    return torch.ops.dropkit.draw_seed(like, call, [info.batch_size, *shape]), 0


for _name, _operation, _shape in (
    ("multiply", _multiply, _like),
    ("draw_seed", _seeds, _empty_seeds),
):
    _library.impl(_name, _operation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"dropkit::{_name}", _shape, lib=_library)
torch.library.register_autograd(
    "dropkit::multiply",
    _Multiply.backward,
    setup_context=_Multiply.setup_context,
    lib=_library,
)
torch.library.register_vmap(
    "dropkit::multiply",
    lambda info, in_dims, *inputs: (_operator(*_rows(info, in_dims, *inputs)), 0),
    lib=_library,
)
torch.library.register_vmap("dropkit::draw_seed", _seed_for_each, lib=_library)

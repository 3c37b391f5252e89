"""Lower the product to Inductor code on CUDA, so that it fuses with neighbouring operations.

Inductor's interface is private. If this interface is missing or changes, the operator is not fused:
the result is the same, but slower. On the CPU the operator is never fused, because the C kernel is
much faster than fused C++.

The bits are the same as in ``philox.py``. The counter is computed by floor division, because
compilers then see that neighbouring elements share a counter; with a shift they do not.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

import sys
from contextlib import suppress
from typing import Any

import torch

from dropkit.random.philox import MASK32, MULTIPLIERS, WEYL

#: Device types for which the product is lowered. Tests add the CPU.
devices = {"cuda"}

#: The operators that are lowered.
products: list[Any] = []

#: Operators that draw from torch's generators; without dependencies, Inductor may reorder them.
draws: list[Any] = []

_CHANGED = (ImportError, AttributeError, TypeError)  # errors if the interface has changed
_registered: set[Any] = set()


def register_lowering() -> None:
    """If Inductor is loaded, register the code of the product, and keep draws in order."""
    new = {*products, *draws} - _registered
    if not new or "torch._inductor.lowering" not in sys.modules:
        return
    _registered.update(new)
    with suppress(*_CHANGED):
        from torch._inductor.lowering import fallback_handler, register_lowering

        for operator in new:
            opaque = fallback_handler(operator)
            lower = _lower_or(opaque) if operator in products else _in_order(opaque)
            register_lowering(operator, type_promotion_kind=None)(lower)


def _in_order(opaque: Any) -> Any:
    """Make each draw of a program depend on the draw before it."""

    def lower(*arguments):
        from torch._inductor.virtualized import V

        graph: Any = V.graph
        before = len(graph.operations)
        drawn = opaque(*arguments)
        with suppress(*_CHANGED):
            last = getattr(graph, "last_dropkit_draw", None)
            for operation in graph.operations[before:]:
                if last is not None:
                    graph.additional_buffer_deps[operation.get_operation_name()].add(last)
                graph.last_dropkit_draw = operation.get_name()
        return drawn

    return lower


def _lower_or(opaque: Any) -> Any:
    def lower(x, key, kind, stream, shared, definition):
        if kind == "bernoulli" and x.get_device().type in devices:
            with suppress(*_CHANGED):
                return _pointwise(x, key, stream, shared)
        return opaque(x, key, kind, stream, shared, definition)

    return lower


def _pointwise(x: Any, key: Any, stream: int, shared: list[int]) -> Any:
    from torch._inductor.ir import Pointwise

    dtype, size = x.get_dtype(), x.get_size()
    load, load_key, parts = x.make_loader(), key.make_loader(), len(key.get_size()) - 1

    def element(index):
        flat: Any = 0
        for dim, length in enumerate(size[parts:]):
            if dim not in shared:
                flat = flat * length + index[parts + dim]
        seed, packed = (load_key([*index[:parts], which]) for which in (0, 1))
        return _multiply_noise(load(index), dtype, _word(flat, seed, stream), packed)

    return Pointwise.create(device=x.get_device(), dtype=dtype, inner_fn=element, ranges=list(size))


def _word(flat: Any, seed: Any, stream: int) -> Any:
    """Compute the 16-bit word of the element at a position, as int32."""
    from torch._inductor.virtualized import ops
    from torch.utils._sympy.functions import FloorDiv, ModularIndexing

    def wide(number):
        return ops.constant(number, torch.int64)

    def low(value):
        return ops.bitwise_and(value, wide(MASK32))

    def high(value):
        return low(ops.bitwise_right_shift(value, wide(32)))

    counter = ops.index_expr(FloorDiv(flat, 8), torch.int64)
    c0, c1, c2, c3 = low(counter), high(counter), wide(stream & MASK32), wide(stream >> 32 & MASK32)
    k0, k1 = low(seed), high(seed)
    for _ in range(10):
        left, right = ops.mul(c0, wide(MULTIPLIERS[0])), ops.mul(c2, wide(MULTIPLIERS[1]))
        c0, c1 = ops.bitwise_xor(ops.bitwise_xor(high(right), c1), k0), low(right)
        c2, c3 = ops.bitwise_xor(ops.bitwise_xor(high(left), c3), k1), low(left)
        k0, k1 = (low(ops.add(key, wide(step))) for key, step in zip((k0, k1), WEYL, strict=True))
    four = [ops.to_dtype(word, torch.int32) for word in (c0, c1, c2, c3)]
    which = ops.index_expr(ModularIndexing(flat, 1, 8), torch.int32)

    def below(limit, yes, no):
        return ops.where(ops.lt(which, ops.constant(limit, torch.int32)), yes, no)

    chosen = below(4, below(2, four[0], four[1]), below(6, four[2], four[3]))
    odd = ops.bitwise_and(which, ops.constant(1, torch.int32))
    shift = ops.mul(odd, ops.constant(16, torch.int32))
    word = ops.bitwise_right_shift(chosen, shift)
    return ops.bitwise_and(word, ops.constant(0xFFFF, torch.int32))


def _multiply_noise(x: Any, dtype: torch.dtype, word: Any, packed: Any) -> Any:
    """Multiply a number by noise from its 16 random bits and ``Noise.packed``."""
    from torch._inductor.virtualized import ops

    real = torch.float64 if dtype == torch.float64 else torch.float32
    limit = ops.to_dtype(
        ops.bitwise_right_shift(packed, ops.constant(32, torch.int64)), torch.int32
    )
    if real == torch.float64:
        kept = ops.sub(ops.constant(1 << 16, torch.int32), limit)
        factor = ops.truediv(ops.constant(65536.0, real), ops.to_dtype(kept, real))
    else:
        factor = ops.to_dtype_bitcast(ops.to_dtype(packed, torch.int32), real, torch.int32)
    product = ops.mul(ops.to_dtype(x, real), factor)
    kept = ops.where(ops.ge(word, limit), product, ops.constant(0.0, real))
    return ops.to_dtype(kept, dtype)

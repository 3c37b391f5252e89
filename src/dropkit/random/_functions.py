"""The product with noise for autograd in eager code: a fast version, and a general one."""

from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor, is_legacy_batchedtensor
from torch.autograd import forward_ad

from dropkit.random import dispatch
from dropkit.random._operators import rows
from dropkit.random._product import Noise, product
from dropkit.random.philox import DEFINITION

#: The arguments of a call besides its input: seed, noise, stream, shared dimensions.
Call = tuple[Tensor | int, Noise, int, tuple[int, ...]]

_PLAIN = (Tensor, nn.Parameter)
FLOATS = frozenset({torch.float32, torch.bfloat16, torch.float16, torch.float64})

_transforms_active = torch._C._are_functorch_transforms_active
_count_of_modes = torch._C._len_torch_dispatch_stack
_tracing_state = torch._C._get_tracing_state


def is_plain(x: Tensor) -> bool:
    """Whether a kernel can process x directly, without transforms, recording or dispatch modes.

    Transforms, recording and dispatch modes do not see what a kernel computes; they need an
    operator.
    """
    return (
        type(x) in _PLAIN
        and (x.is_cpu or (x.is_cuda and dispatch.backend(x.device) == "triton"))
        and x.dtype in FLOATS
        and x.layout is torch.strided
        and not x.is_nested
        and forward_ad._current_level < 0
        and not _transforms_active()
        and not _count_of_modes()
        and not _tracing_state()
        and not is_functorch_wrapped_tensor(x)
        and not is_legacy_batchedtensor(x)
    )


def apply_plainly(x: Tensor, call: Call) -> Tensor:
    """Multiply a tensor for which ``is_plain`` is true."""
    if x.requires_grad and torch.is_grad_enabled():
        return _apply_plain(x, call)  # type: ignore[no-any-return]
    return product(x, *call)


class _Plain(torch.autograd.Function):
    """The product with a backward pass only. Most arguments are in one tuple, which is faster."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, call: Call) -> Tensor:
        ctx.call = call
        return product(x, *call)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        if is_plain(grad):
            return apply_plainly(grad, ctx.call), None
        seed, *rest = ctx.call
        if not isinstance(seed, Tensor):
            seed = torch.full((), seed, dtype=torch.int64, device=grad.device)
        return apply(grad, seed, *rest), None


# Skip torch's Python code that checks for transforms, because is_plain has checked.
_apply_plain: Any = super(torch.autograd.Function, _Plain).apply


def apply(x: Tensor, seed: Tensor, *rest: Any) -> Tensor:
    """Multiply any tensor in eager code, with support for all derivatives and transforms."""
    return _General.apply(x, seed, *rest)  # type: ignore[no-any-return, no-untyped-call]


class _General(torch.autograd.Function):
    """The product with all derivatives; each derivative is the same operation."""

    @staticmethod
    def forward(
        x: Tensor, seed: Tensor, noise: Noise, stream: int, shared: tuple[int, ...]
    ) -> Tensor:
        stand_in = type(x) not in _PLAIN or x.is_meta or is_legacy_batchedtensor(x)
        if not stand_in and not torch._C._len_torch_dispatch_stack():
            return product(x, seed, noise, stream, shared)
        p = torch.tensor(noise.p, dtype=torch.float64, device="cpu")
        key = torch.ops.dropkit.make_key(seed, p, noise.kind)
        return torch.ops.dropkit.multiply(  # type: ignore[no-any-return]
            x, key, noise.kind, stream, shared, DEFINITION
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, seed, *ctx.rest = inputs
        ctx.save_for_backward(seed)
        ctx.save_for_forward(seed)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return apply(grad, *ctx.saved_tensors, *ctx.rest), None, None, None, None

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], x: Tensor, seed: Tensor, *rest: Any
    ) -> tuple[Tensor, int]:
        return apply(*rows(info, in_dims, x, seed), *rest), 0

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return apply(tangent, *ctx.saved_tensors, *ctx.rest)

"""The operators for compilers: draw a key, and multiply by the noise of a key.

A key is int64 of shape (…, 2): the seed, and ``Noise.packed``. A product reads the key when it
runs, so one compiled program works for every seed and rate.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dropkit.random._cuda_seed import draw_on_host
from dropkit.random._lowering import draws, products, register_lowering
from dropkit.random._portable import refuse_in_onnx
from dropkit.random._product import Kind, noise, product_by_key
from dropkit.random.philox import DEFINITION
from dropkit.random.seed import draw

_library: Any = torch.library.Library("dropkit", "DEF")  # type: ignore[no-untyped-call]

# These operators read the rate or draw on the CPU, which a CUDA graph would do only once.
_AHEAD = (torch.Tag.pt2_compliant_tag, torch.Tag.cudagraph_unsafe)
_RANDOM = (*_AHEAD, torch.Tag.nondeterministic_seeded)
for _schema, _tags in (
    (
        "multiply(Tensor x, Tensor key, str kind, int stream, int[] shared, int definition)"
        " -> Tensor",
        (torch.Tag.pt2_compliant_tag,),
    ),
    ("make_key(Tensor seed, Tensor p, str kind) -> Tensor", _AHEAD),
    ("draw_key(Tensor p, Tensor call, Device device, SymInt[] shape, str kind) -> Tensor", _RANDOM),
    ("draw_seed(Tensor call, Device device, SymInt[] shape) -> Tensor", _RANDOM),
):
    _library.define(_schema, tags=_tags)


def rate_tensor(p: float | Tensor) -> Tensor:
    """Convert a rate to a tensor for the operators, also while dynamo traces a float."""
    if isinstance(p, Tensor):
        return p
    # Multiplying makes dynamo treat the float as an input, so a new rate does not recompile.
    return torch.ones((), dtype=torch.float64, device="cpu") * p


def _multiply(
    x: Tensor, key: Tensor, kind: Kind, stream: int, shared: Sequence[int], definition: int
) -> Tensor:
    if definition != DEFINITION:
        raise RuntimeError(
            f"the program was recorded with definition {definition} of dropkit's masks, and this "
            f"version has definition {DEFINITION}; record it again"
        )
    return product_by_key(x, key, kind, stream, tuple(shared))


def _like(x: Tensor, *_: object) -> Tensor:
    refuse_in_onnx()
    register_lowering()  # a compiler needs the lowering from now on
    return torch.empty_like(x)


def _make_key(seed: Tensor, p: Tensor, kind: Kind) -> Tensor:
    packed = noise(float(p.item()), kind).packed
    return torch.stack([seed, torch.full_like(seed, packed)], dim=-1)


def _empty_key(seed: Tensor, p: Tensor, kind: Kind) -> Tensor:
    return seed.new_empty((*seed.shape, 2))


def _draw_key(
    p: Tensor, call: Tensor, device: torch.device, shape: Sequence[int], kind: Kind
) -> Tensor:
    seed = draw_on_host(device) if device.type == "cuda" and not shape else None
    if seed is None:
        return _make_key(draw(device, None, shape), p, kind)
    key = torch.tensor([seed, noise(p.item(), kind).packed], device="cpu")
    return key.to(device, non_blocking=True)


def _empty_drawn_key(
    p: Tensor, call: Tensor, device: torch.device, shape: Sequence[int], kind: Kind
) -> Tensor:
    return torch.empty((*shape, 2), dtype=torch.int64, device=device)


def _draw_seed(call: Tensor, device: torch.device, shape: Sequence[int]) -> Tensor:
    return draw(device, None, shape)


def _empty_seed(call: Tensor, device: torch.device, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=torch.int64, device=device)


for _name, _operation, _shape in (
    ("multiply", _multiply, _like),
    ("make_key", _make_key, _empty_key),
    ("draw_key", _draw_key, _empty_drawn_key),
    ("draw_seed", _draw_seed, _empty_seed),
):
    _library.impl(_name, _operation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"dropkit::{_name}", _shape, lib=_library)

products += [torch.ops.dropkit.multiply.default]
draws += [torch.ops.dropkit.draw_key.default, torch.ops.dropkit.draw_seed.default]


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, key, *ctx.rest = inputs
    ctx.save_for_backward(key)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    again = torch.ops.dropkit.multiply(grad, *ctx.saved_tensors, *ctx.rest)
    return again, None, None, None, None, None


torch.library.register_autograd("dropkit::multiply", _backward, setup_context=_save, lib=_library)


def rows(info: Any, in_dims: Sequence[int | None], *tensors: Tensor) -> list[Tensor]:
    """Give each tensor a leading dimension for the samples of a vmap."""
    return [
        tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        for tensor, dim in zip(tensors, in_dims, strict=False)
    ]


def _multiply_rows(
    info: Any, in_dims: Any, x: Tensor, key: Tensor, *rest: Any
) -> tuple[Tensor, int]:
    return torch.ops.dropkit.multiply(*rows(info, in_dims, x, key), *rest), 0


def _make_keys(info: Any, in_dims: Any, seed: Tensor, p: Tensor, kind: Kind) -> tuple[Tensor, int]:
    if in_dims[1] is not None:
        raise RuntimeError("p must be the same for all samples of a vmap")
    return torch.ops.dropkit.make_key(*rows(info, in_dims, seed), p, kind), 0


def _shape_of_draw(info: Any, shape: Sequence[int]) -> tuple[list[int], int | None]:
    if info.randomness == "error":
        raise RuntimeError(
            "noise was drawn inside vmap with randomness='error'; pass randomness='same' or "
            "'different' to vmap"
        )
    if info.randomness == "same":
        return list(shape), None
    return [info.batch_size, *shape], 0


def _draw_keys(
    info: Any, in_dims: Any, p: Tensor, call: Tensor, device: Any, shape: Any, kind: Kind
) -> tuple[Tensor, int | None]:
    shape, dim = _shape_of_draw(info, shape)
    return torch.ops.dropkit.draw_key(p, call, device, shape, kind), dim


def _draw_seeds(
    info: Any, in_dims: Any, call: Tensor, device: Any, shape: Any
) -> tuple[Tensor, int | None]:
    shape, dim = _shape_of_draw(info, shape)
    return torch.ops.dropkit.draw_seed(call, device, shape), dim


for _name, _rule in (
    ("multiply", _multiply_rows),
    ("make_key", _make_keys),
    ("draw_key", _draw_keys),
    ("draw_seed", _draw_seeds),
):
    torch.library.register_vmap(f"dropkit::{_name}", _rule, lib=_library)

"""Choose the seed of a call: the caller's, or one drawn from torch's default generator."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.random._cuda_seed import DRAWS, draw_on_host
from dropkit.random.ranks import data_rank

_UNSIGNED = 2**64


def draw_seed(like: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
    """Draw one seed, which advances torch's default generator (or ``generator``) by one draw.

    Args:
        like: the tensor that will get the noise; the seed is drawn on its device. Default: CPU.
        generator: draw from this generator instead of the device's default one.

    Returns:
        A scalar int64 tensor in [0, 2⁶³ − 1). Under ``vmap`` with ``randomness="different"``, each
        sample has its own seed.

    >>> _ = torch.manual_seed(0)
    >>> first = draw_seed()
    >>> _ = torch.manual_seed(0)
    >>> bool(first == draw_seed())
    True
    """
    if torch.compiler.is_compiling():
        if generator is not None:
            raise ValueError(
                "a torch.Generator cannot enter compiled code; draw the seed outside, "
                "seed = draw_seed(generator=generator), and pass seed=seed"
            )
        # A custom operator, because compiled code would use its own random generator.
        device = torch.device("cpu") if like is None else like.device
        return torch.ops.dropkit.draw_seed(own_call(like), device, ())  # type: ignore[no-any-return]
    return draw(torch.device("cpu") if like is None else like.device, generator)


def own_call(like: Tensor | None) -> Tensor:
    """Return an empty tensor that keeps a compiler from merging two draws into one.

    Under ``vmap`` the tensor is batched like ``like``, so that each sample draws its own seed.
    """
    call = torch.empty(0, device="cpu")
    if like is None or not torch._C._are_functorch_transforms_active():
        return call
    return call + like.new_empty(0, dtype=call.dtype, device="cpu")


def draw(
    device: torch.device, generator: torch.Generator | None, shape: Sequence[int] = ()
) -> Tensor:
    """Draw seeds of this shape in eager code; by default one seed."""
    return torch.randint(DRAWS, shape, device=device, generator=generator)


def settle(
    like: Tensor,
    seed: int | Tensor | None,
    stream: int | None,
    generator: torch.Generator | None,
    compiling: bool,
) -> tuple[Tensor, int]:
    """Return the seed and the stream of a call as int64, drawing a seed if none is given.

    For a drawn seed the default stream is the data-parallel rank, so that replicas draw different
    noise. For a given seed the default is 0, so that replicas draw the same noise.
    """
    if seed is None:
        key = draw_seed(like, generator=generator) if compiling else draw(like.device, generator)
        return key, data_rank() if stream is None else as_stream(stream)
    if generator is not None:
        raise ValueError("pass a seed or a generator, not both")
    return as_seed(seed, like.device), as_stream(stream or 0)


def settle_plainly(
    like: Tensor,
    seed: int | Tensor | None,
    stream: int | None,
    generator: torch.Generator | None,
) -> tuple[Tensor | int, int]:
    """Return what ``settle`` returns, in eager code; on CUDA, return an int seed if possible."""
    if seed is None:
        number = draw_on_host(like.device) if like.is_cuda and generator is None else None
        drawn: Tensor | int = draw(like.device, generator) if number is None else number
        return drawn, data_rank() if stream is None else as_stream(stream)
    if generator is not None:
        raise ValueError("pass a seed or a generator, not both")
    if like.is_cpu:
        return as_seed(seed), as_stream(stream or 0)
    if isinstance(seed, Tensor):
        return seed if seed.is_cuda else int(seed), as_stream(stream or 0)
    return _to_signed(seed, "seed"), as_stream(stream or 0)


def is_plain_seed(seed: object, like: Tensor) -> bool:
    """Whether ``settle_plainly`` accepts a seed: a scalar on the CPU or on the tensor's device."""
    if not isinstance(seed, Tensor):
        return True
    near = seed.is_cpu or seed.device == like.device
    return type(seed) is Tensor and not seed.dim() and seed.dtype == torch.int64 and near


def as_seed(seed: int | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Return ``seed`` as an int64 tensor with the same 64 bits.

    >>> as_seed(2**64 - 1)
    tensor(-1)
    """
    if isinstance(seed, Tensor):
        if seed.dtype != torch.int64:
            raise TypeError(f"a seed tensor must be int64, got {seed.dtype}; see draw_seed")
        return seed if device is None else seed.to(device)
    # Fill on the device, so that the call does not wait for a GPU.
    return torch.full((), _to_signed(seed, "seed"), dtype=torch.int64, device=device or "cpu")


def as_stream(stream: int) -> int:
    """Return ``stream`` as an int64 with the same 64 bits."""
    return _to_signed(stream, "stream")


def _to_signed(value: int, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int in [0, 2**64), got {value!r}")
    if not 0 <= value < _UNSIGNED:
        raise ValueError(f"{name} must lie in [0, 2**64), got {value}")
    return value - _UNSIGNED if value > DRAWS else value

"""Check arguments; the messages contain the requirement, the value and the fix."""

import math

import torch
from torch import Tensor


def check_probability(value: float, name: str = "p") -> float:
    """Return ``value`` as a float if it lies in [0, 1]; otherwise raise ``ValueError``.

    >>> check_probability(0.5)
    0.5
    >>> check_probability(50)
    Traceback (most recent call last):
    ValueError: p must lie in [0, 1], got 50; p is the probability of dropping
    """
    if isinstance(value, bool | str):
        raise TypeError(f"{name} must be a number in [0, 1], got {value!r}")
    number = float(value)
    if not 0.0 <= number <= 1.0:  # NaN also fails this comparison
        raise ValueError(
            f"{name} must lie in [0, 1], got {value}; {name} is the probability of dropping"
        )
    return number


def check_positive(value: float, name: str) -> float:
    """Return ``value`` as a float if it is finite and above zero; otherwise raise ``ValueError``.

    >>> check_positive(3, "c")
    3.0
    """
    number = float(value)
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} must be a finite number above 0, got {value}")
    return number


def is_unrolled() -> bool:
    """Whether a compiler, tracer or transform is active; then Python must not branch on a draw."""
    return bool(
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state()
        or torch._C._are_functorch_transforms_active()
    )


def check_not_recorded(x: Tensor, name: str) -> None:
    """Raise ``RuntimeError`` if the operations are being recorded.

    In the caller, a random choice decides which operations run. A recording fixes this choice:
    every replay of a CUDA graph, and every call of a program from ``torch.jit.trace``, would drop
    the same units.
    """
    if torch._C._get_tracing_state():
        raise RuntimeError(
            f"{name} cannot be traced by torch.jit.trace while it drops: every call of the traced "
            "program would drop the same units; trace in evaluation, or use torch.compile"
        )
    if x.is_cuda and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"{name} cannot be recorded in a CUDA graph, because all replays would drop the same "
            "units; record the model without it"
        )

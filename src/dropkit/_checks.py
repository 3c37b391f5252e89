"""Argument checks and their messages: what must hold, what came, what to do."""

import math

import torch
from torch import Tensor


def check_probability(value: float, name: str = "p") -> float:
    """Return ``value`` as a float if it lies in [0, 1], else raise ``ValueError``.

    >>> check_probability(0.5)
    0.5
    >>> check_probability(50)
    Traceback (most recent call last):
    ValueError: p must lie in [0, 1], got 50; p is the probability of dropping
    """
    if isinstance(value, bool | str):
        raise TypeError(f"{name} must be a number in [0, 1], got {value!r}")
    number = float(value)
    if not 0.0 <= number <= 1.0:  # NaN neither
        raise ValueError(
            f"{name} must lie in [0, 1], got {value}; {name} is the probability of dropping"
        )
    return number


def check_positive(value: float, name: str) -> float:
    """Return ``value`` as a float if it is finite and above zero, else raise ``ValueError``.

    >>> check_positive(3, "c")
    3.0
    """
    number = float(value)
    if not (math.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} must be a finite number above 0, got {value}")
    return number


def check_not_recorded(x: Tensor, name: str) -> None:
    """Raise ``RuntimeError`` if a CUDA graph is being recorded, which would keep a choice forever.

    What is drawn on the CPU is the same in every replay of the graph.
    """
    if x.is_cuda and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"{name} cannot be recorded in a CUDA graph, whose replays would all drop the same: "
            "what it drops is drawn on the CPU; record the model without it"
        )

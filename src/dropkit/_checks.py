"""Argument checks and their messages: what must hold, what came, what to do."""

import math
import re
from collections.abc import Iterable
from difflib import get_close_matches

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


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint naming the choice nearest to ``word``, or all of them if none is near.

    >>> nearest("drpout", ["dropout", "l1"])
    "did you mean 'dropout'?"
    >>> nearest("xyz", ["dropout", "l1"])
    'choose from dropout, l1'
    """
    known = [str(choice) for choice in choices]
    lowered = {choice.lower(): choice for choice in known}
    matches = get_close_matches(word.lower(), lowered, n=1)
    if matches:
        return f"did you mean {lowered[matches[0]]!r}?"
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return f"choose from {shown}"


def printable(text: str) -> str:
    """Return the text with control characters spelled out, so that they do nothing to a terminal.

    Those of C0 and C1 but tab and line feed, and those that turn the direction of writing.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

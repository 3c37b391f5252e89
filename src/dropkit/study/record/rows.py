"""Encode the loss of every test row as short text."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = "regression"
"""The task that makes `pack_rows` write numbers, for example contributions of any task."""


def pack_rows(values: npt.NDArray[Any], task: str) -> str:
    """Encode one loss per test row as base64: bits for a classification, otherwise numbers."""
    raw = np.packbits(values.astype(bool)) if task == "classification" else shorten(values)
    return base64.b64encode(raw.tobytes()).decode("ascii")


def unpack_rows(text: str, task: str, count: int) -> npt.NDArray[np.float64]:
    """Decode text from `pack_rows` for ``count`` rows; raise `ValueError` for other text."""
    raw = base64.b64decode(text, validate=True)
    sizes = [(count + 7) // 8] if task == "classification" else [4 * count, 8 * count]
    if len(raw) not in sizes:
        raise ValueError(f"{len(raw)} bytes cannot be the losses of {count} test rows")
    if task == "classification":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(np.float64)
    return np.frombuffer(raw, "<f8" if len(raw) == 8 * count > 0 else "<f4").astype(np.float64)


def shorten(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values in single precision, or in double precision if single would lose too much.

    Too much is a change by more than 1e-5 standard deviations. Large values that differ little,
    such as times in seconds since 1970, and very large or very small ones need double precision.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        short = values.astype("<f4")
        lost = np.abs(short - values) > 1e-5 * values.std(axis=0)
    return values.astype("<f8") if lost.any() else short

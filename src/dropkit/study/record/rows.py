"""Encode the loss of every test row as short text."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = "regression"
"""The task that makes `pack_rows` write numbers, for example contributions of any task."""


def pack_rows(values: npt.NDArray[Any], task: str) -> str:
    """Encode one loss per test row as base64: bits for a classification, otherwise float32."""
    raw = np.packbits(values.astype(bool)) if task == "classification" else values.astype("<f4")
    return base64.b64encode(raw.tobytes()).decode("ascii")


def unpack_rows(text: str, task: str, count: int) -> npt.NDArray[np.float64]:
    """Decode text from `pack_rows` for ``count`` rows; raise `ValueError` for other text."""
    raw = base64.b64decode(text, validate=True)
    if len(raw) != ((count + 7) // 8 if task == "classification" else 4 * count):
        raise ValueError(f"{len(raw)} bytes cannot be the losses of {count} test rows")
    if task == "classification":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=count).astype(np.float64)
    return np.frombuffer(raw, "<f4").astype(np.float64)

"""What a model is called with, from the one value that stands for all its inputs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


def arguments(
    given: Any, device: torch.device, dtype: torch.dtype | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a model is called with: positional inputs, and named ones of a mapping.

    Arrays become tensors on the device, those of floats in ``dtype``: NumPy makes float64 where
    nobody asks for it, and a model of float32 takes none.
    """
    given = dict(given) if isinstance(given, Mapping) else given
    given = tree_map_only(np.ndarray, partial(_as_tensor, device=device, dtype=dtype), given)
    if isinstance(given, dict):
        return (), given
    if isinstance(given, list | tuple) and not hasattr(given, "_fields"):
        return tuple(given), {}
    return (given,), {}


def _as_tensor(array: Any, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    floats = np.issubdtype(array.dtype, np.floating)
    return torch.as_tensor(array, dtype=dtype if floats else None, device=device)

"""Convert a single input value to the arguments of a model call."""

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
    """Return positional and keyword arguments for a tensor, a tuple, a list or a mapping.

    Arrays become tensors on the device. Float arrays are converted to ``dtype``, because NumPy's
    default float64 does not work with float32 models.
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

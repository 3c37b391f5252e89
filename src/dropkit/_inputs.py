"""What a model is called with, from the one value that stands for all its inputs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map_only


def arguments(given: Any, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what a model is called with: positional inputs, and named ones of a mapping.

    Arrays become tensors on the device.
    """
    given = dict(given) if isinstance(given, Mapping) else given
    given = tree_map_only(np.ndarray, partial(torch.as_tensor, device=device), given)
    if isinstance(given, dict):
        return (), given
    if isinstance(given, list | tuple) and not hasattr(given, "_fields"):
        return tuple(given), {}
    return (given,), {}

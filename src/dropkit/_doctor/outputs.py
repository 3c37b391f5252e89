"""Find, compare and hash the tensors in what a model returns."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from dropkit._rounding import are_close


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors in a model's output, at any depth, detached."""
    return [tensor.detach() for tensor in find_tensors(output)]


def find_tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors in tuples, lists and mappings, and in attributes of other objects."""
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            yield leaf
        elif isinstance(leaf, Mapping):
            yield from find_tensors(list(leaf.values()))
        elif hasattr(leaf, "__dict__") and not isinstance(leaf, nn.Module):
            values = tree_leaves(list(vars(leaf).values()))
            yield from (value for value in values if isinstance(value, Tensor))


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    """Whether outputs are equal, up to rounding by a different order of summation."""
    return len(left) == len(right) and all(map(are_close, left, right))


def main(output: Any) -> Any:
    """Return the entry or attribute ``logits`` of an output; without one, its first tensor."""
    named = output.get("logits") if hasattr(output, "get") else getattr(output, "logits", None)
    return named if named is not None else next(find_tensors(output), None)


def hash_bits(values: Any) -> int:
    """Return a hash of the bits of the tensors in a value."""
    leaves = [leaf for found in tensors(values) for leaf in _local(found)]
    leaves = [leaf.cpu().contiguous() for leaf in leaves if leaf.layout is torch.strided]
    return hash(tuple(leaf.reshape(-1).view(torch.uint8).numpy().tobytes() for leaf in leaves))


def _local(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of this process in a tensor subclass, such as a ``DTensor``."""
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    tensor = tensor.clone()  # waits for a collective operation
    if not is_traceable_wrapper_subclass(tensor):
        return [tensor]
    held = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    return [leaf for inner in held if isinstance(inner, Tensor) for leaf in _local(inner)]

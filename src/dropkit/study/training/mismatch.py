"""Suggest a fix for a model whose outputs do not fit the data."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dropkit.study.inputs import LENGTHS, AnyRows, Inputs
from dropkit.study.tasks import TASKS


def advise(returned: Any, rows: AnyRows, outputs: int, task: str) -> str:
    """Return the change that a model needs, given its output for a few rows.

    >>> import torch
    >>> advise(torch.zeros(2, 3), torch.zeros(2, 4), 2, "classification")
    'give its last layer 2 units: the value of outputs in def make(inputs, outputs)'
    """
    if isinstance(returned, tuple | list):
        kinds = ", ".join(map(_describe, returned))
        if TASKS[task].is_several and len(returned) == outputs:
            return f"it holds {kinds}: join the outputs of all targets, as torch.cat(output, 1)"
        return f"it holds {kinds}: return only one of them, such as output[0]"
    if not isinstance(returned, Tensor):
        return "return one tensor, or an object whose tensor is called logits"
    shape, count = tuple(returned.shape), len(rows)
    if shape[:1] != (count,):
        if shape[1:2] == (count,) and (returned.ndim > 2 or shape[0] > 1):
            return (
                "rows must come first: give recurrent and attention layers batch_first=True, and "
                "take state[-1] of a recurrent layer's last state"
            )
        return "keep the first dimension, that of the rows: do not average or flatten over it"
    if returned.ndim == 3 and shape[1] in _list_sizes(rows):
        return f"this is an output for each of {shape[1]} steps: take the last one, or their mean"
    if returned.ndim > 2:
        return f"flatten or pool the dimensions after rows, and end in nn.Linear(..., {outputs})"
    if task == "classification" and outputs == 2 and shape in ((count,), (count, 1)):
        return (
            "one output for two classes is for binary cross-entropy, but a study uses softmax over "
            "both classes: give its last layer 2 units"
        )
    units = "1 unit" if outputs == 1 else f"{outputs} units"
    return f"give its last layer {units}: the value of outputs in def make(inputs, outputs)"


def _list_sizes(rows: AnyRows) -> set[int]:
    """Return the sizes of the dimensions after the rows; any of them may be the steps."""
    parts = rows.padded().parts if isinstance(rows, Inputs) else {"": rows}
    sizes = {size for name, part in parts.items() if LENGTHS not in name for size in part.shape[1:]}
    longest = (
        [shape[0] for shape in rows.shape.values() if shape] if isinstance(rows, Inputs) else []
    )
    return sizes.union(longest)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"

"""Index rows of several inputs, or sequences of unequal length, like the rows of one array.

`Inputs` and `Sequences` hold NumPy arrays when data are read, and torch tensors in training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

from dropkit.study.shapes import Shape

LENGTHS = ".lengths"
"""The end of the name under which a batch holds the sequence lengths of an input."""

Rows = TypeVar("Rows", bound="Tensor | Inputs")


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of unequal length, stored as one concatenated array of steps.

    Selecting rows copies no steps.

    Args:
        steps: an array or tensor of shape (steps, …).
        starts: the index of each sequence's first step.
        lengths: the number of steps of each sequence.
        longest: the length of the longest sequence in all data; every sequence here may be shorter.
    """

    steps: Any
    starts: Any
    lengths: Any
    longest: int

    @classmethod
    def join(cls, steps: Any, lengths: Any, longest: int | None = None) -> Sequences:
        """Create sequences from concatenated steps and their lengths, as arrays or tensors."""
        ends = lengths.cumsum(0)
        return cls(steps, ends - lengths, lengths, longest or int(lengths.max()))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Any) -> Sequences:
        return Sequences(self.steps, self.starts[rows], self.lengths[rows], self.longest)

    def __iter__(self) -> Iterator[Any]:
        for start, length in zip(self.starts.tolist(), self.lengths.tolist(), strict=True):
            yield self.steps[start : start + length]

    def clone(self) -> Sequences:
        """Copy the lengths but not the steps, which `pad` copies."""
        return Sequences(self.steps, self.starts, self.lengths.clone(), self.longest)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array after padding to the longest sequence of all data."""
        return (len(self), self.longest, *self.steps.shape[1:])

    def taken(self) -> Any:
        """Return the concatenated steps of only these rows, as an array."""
        before = np.cumsum(self.lengths) - self.lengths
        return self.steps[
            np.repeat(self.starts - before, self.lengths) + np.arange(self.lengths.sum())
        ]

    def pad(self) -> Tensor:
        """Return one tensor of these rows, padded with zeros to the longest row."""
        places = torch.arange(int(self.lengths.max()))
        at = (self.starts[:, None] + places).clamp(max=len(self.steps) - 1)
        padded: Tensor = self.steps[at]
        padded[places >= self.lengths[:, None]] = 0
        return padded


@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows of several named inputs; in each row, an input is an array or a sequence.

    >>> rows = Inputs({"a": torch.zeros(3, 2), "b": torch.ones(3, 5)})
    >>> len(rows), rows[1:].shape
    (3, {'a': (2,), 'b': (5,)})
    """

    parts: dict[str, Any]

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> Inputs:
        return self.map(lambda part: part[rows])

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return pairs of a name and its array or sequences."""
        return iter(self.parts.items())

    def map(self, function: Callable[[Any], Any]) -> Inputs:
        """Apply a function to every input."""
        return Inputs({name: function(part) for name, part in self.items()})

    @property
    def shape(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row of each input, by name."""
        return {name: tuple(part.shape[1:]) for name, part in self.items() if LENGTHS not in name}

    @property
    def sequences(self) -> tuple[str, ...]:
        """The names of the inputs that are sequences, padded or not."""
        return tuple(
            name
            for name, part in self.items()
            if isinstance(part, Sequences) or name + LENGTHS in self.parts
        )

    def is_floating_point(self) -> bool:
        """Whether any of the tensors holds floats."""
        parts = (p.steps if isinstance(p, Sequences) else p for p in self.parts.values())
        return any(part.is_floating_point() for part in parts)

    def padded(self) -> Inputs:
        """Replace sequences by a zero-padded tensor and a tensor of their lengths."""
        found: dict[str, Tensor] = {}
        for name, part in self.items():
            if isinstance(part, Sequences):
                found |= {name: part.pad(), name + LENGTHS: part.lengths}
            else:
                found[name] = part
        return Inputs(found)

    def to(self, device: torch.device) -> Inputs:
        """Pad sequences and move all tensors to a device."""
        return self.padded().map(lambda part: part.to(device))

    def clone(self) -> Inputs:
        """Copy the tensors, except the steps of sequences, which `padded` copies."""
        return self.map(lambda part: part.clone())

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors."""
        found: torch.device = next(iter(self.padded().parts.values())).device
        return found


AnyRows: TypeAlias = Tensor | Inputs


def shape_of(rows: Any) -> Shape:
    """Return the shape of one row; for several inputs, a dict of shapes by name."""
    if not isinstance(rows, Inputs):
        return tuple(rows.shape[1:])
    shapes = rows.shape
    return shapes if len(shapes) > 1 else next(iter(shapes.values()))


def to_tensors(rows: Any) -> Any:
    """Convert arrays to tensors; several inputs keep their names."""
    if isinstance(rows, Inputs):
        return rows.map(to_tensors)
    if isinstance(rows, Sequences):
        steps, starts, lengths = map(to_tensors, (rows.steps, rows.starts, rows.lengths))
        return Sequences(steps, starts, lengths, rows.longest)
    return torch.from_numpy(np.ascontiguousarray(rows))


def join_rows(first: Any, second: Any) -> Any:
    """Concatenate the rows of two arrays, or of inputs with the same names.

    >>> few = Sequences.join(np.array([5, 6, 7]), np.array([1, 2]))
    >>> [row.tolist() for row in join_rows(few, few[:1])]
    [[5], [6, 7], [5]]
    """
    if isinstance(first, Inputs):
        return Inputs({name: join_rows(part, second.parts[name]) for name, part in first.items()})
    if isinstance(first, Sequences):
        steps = np.concatenate([first.taken(), second.taken()])
        lengths = np.concatenate([first.lengths, second.lengths])
        return Sequences.join(steps, lengths, max(first.longest, second.longest))
    return np.concatenate([first, second])


def cut(rows: Rows, size: int) -> Iterator[Rows]:
    """Yield batches of ``size`` rows; the last one may be smaller."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]  # type: ignore[misc]

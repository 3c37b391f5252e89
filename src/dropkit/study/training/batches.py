"""Divide rows into batches, in an order that depends on the seed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor

from dropkit.study.inputs import AnyRows
from dropkit.study.training.ranks import ALONE, Rank

Batch = tuple[AnyRows, Tensor, float]
"""The inputs and targets of some rows, and the factor by which to multiply their mean loss."""


class Rows(Protocol):
    """Rows of features: a tensor, several inputs, or an object that is indexed like a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...

    def is_floating_point(self) -> bool: ...


def count_batches(rows: int, size: int) -> int:
    """Return the number of batches in a pass; `Batches` explains the size of the last batch."""
    whole, left_over = divmod(rows, size)
    return max(1, whole + (left_over > 1))


class Batches:
    """Iterate over batches of rows; the seed decides the order, which is new in every pass.

    Without a seed, rows keep their order. Every batch is (x, y, weight): the inputs and targets of
    ``size`` rows, or of a rank's share of these rows, and the factor for their mean loss. The last
    batch holds the remaining rows. If only one row remains, it joins the batch before, because
    batch normalization cannot train on one row.
    """

    def __init__(
        self, x: Rows, y: Tensor, size: int, seed: int | None = None, rank: Rank = ALONE
    ) -> None:
        self.x, self.y = x, y
        self._settle(len(x), size, seed, rank)

    def _settle(self, rows: int, size: int, seed: int | None, rank: Rank) -> None:
        self.rank = rank
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)
        self.count = count_batches(rows, size)
        self.sizes = [size] * (self.count - 1) + [rows - size * (self.count - 1)]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        shares = [self.rank.share(size) for size in self.sizes]
        device = self.rank.device
        if self.generator is None:
            starts = accumulate(self.sizes[:-1], initial=0)
            for start, size, (mine, weight) in zip(starts, self.sizes, shares, strict=True):
                x, y = self.x[start : start + size], self.y[start : start + size]
                yield x[mine].to(device), y[mine].to(device), weight
            return
        order = torch.randperm(len(self.x), generator=self.generator)
        for rows, (mine, weight) in zip(torch.split(order, self.sizes), shares, strict=True):
            yield self.x[rows[mine]].to(device), self.y[rows[mine]].to(device), weight

"""Read training rows that do not fit in memory, and preprocess them piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dropkit.study.data import Preprocessor, Rest, StoredArray, StoredTable
from dropkit.study.training.batches import Batch, Batches
from dropkit.study.training.ranks import Rank

# Bytes of neighbouring rows that are read as a block, and of rows that are shuffled together.
_BLOCK, _SHUFFLED = 1 << 14, 1 << 25

# The largest size in bytes, and number of rows, to preprocess at a time.
_PIECE, _MOST_ROWS = 1 << 25, 8192


class StreamedRows:
    """Rows of features on the disk, which are indexed by slices like a tensor.

    Args:
        stored: all rows of the data.
        numbers: which of these rows to hold, by number.
        preprocessor: the fitted preprocessor.
    """

    def __init__(
        self,
        stored: StoredArray | StoredTable,
        numbers: npt.NDArray[np.int64],
        preprocessor: Preprocessor,
    ) -> None:
        self.stored, self.numbers, self.preprocessor = stored, numbers, preprocessor
        first = self[:1]
        self.shape, self._is_float = (len(numbers), *first.shape[1:]), first.is_floating_point()
        self.at_once = max(16, min(_MOST_ROWS, _PIECE // max(1, first.nbytes)))
        """The recommended number of rows per slice."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice) -> Tensor:
        return _to_tensor(self.preprocessor, self.stored.take(self.numbers[rows]))

    def is_floating_point(self) -> bool:
        return self._is_float


class StreamedTraining:
    """All training rows of a fold, and their targets.

    Args:
        stored, targets: all rows of the data.
        rest: the numbers of the training rows.
        preprocessor: the fitted preprocessor.
        at_once: number of rows to preprocess at a time.
    """

    def __init__(
        self,
        stored: StoredArray | StoredTable,
        targets: StoredArray,
        rest: Rest,
        preprocessor: Preprocessor,
        at_once: int,
    ) -> None:
        self.stored, self.targets, self.rest = stored, targets, rest
        self.preprocessor, self.at_once = preprocessor, at_once

    def __len__(self) -> int:
        return len(self.rest)

    def shuffle(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the features and targets of all rows, each once.

        Blocks of neighbouring rows are read in random order, and the rows of many blocks are
        shuffled together. This needs no list of all rows, and no reads of single rows.
        """
        row = max(1, self.stored.row_bytes)
        block = max(1, _BLOCK // row)
        together = max(1, _SHUFFLED // (row * block))
        blocks = torch.randperm(-(-len(self) // block), generator=generator)
        for some in torch.split(blocks, together):
            positions = (some.sort().values[:, None] * block + torch.arange(block)).flatten()
            numbers = self.rest.numbers(positions[positions < len(self)].numpy())
            X, y = self.stored.take(numbers), self.targets.take(numbers)
            take = getattr(X, "iloc", X)
            order = torch.randperm(len(numbers), generator=generator).numpy()
            for start in range(0, len(order), self.at_once):
                rows = order[start : start + self.at_once]
                target = torch.from_numpy(self.preprocessor.target(y[rows]))
                yield _to_tensor(self.preprocessor, take[rows]), target


class StreamedBatches(Batches):
    """Batches of rows on the disk, in a new random order every pass; see `Batches`."""

    def __init__(self, rows: StreamedTraining, size: int, seed: int, rank: Rank) -> None:
        self.rows = rows
        self._settle(len(rows), size, seed, rank)

    def __iter__(self) -> Iterator[Batch]:
        assert self.generator is not None
        device, sizes = self.rank.device, iter(self.sizes)
        size, waiting = next(sizes), list[tuple[Tensor, Tensor]]()
        for piece in self.rows.shuffle(self.generator):
            waiting.append(piece)
            x, y = (torch.cat(parts) for parts in zip(*waiting, strict=True))
            while len(x) >= size > 0:
                mine, weight = self.rank.share(size)
                yield x[:size][mine].to(device), y[:size][mine].to(device), weight
                x, y, size = x[size:], y[size:], next(sizes, 0)
            waiting = [(x, y)]


def _to_tensor(preprocessor: Preprocessor, rows: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(preprocessor.transform(rows)))

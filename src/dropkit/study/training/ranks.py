"""Exchange data between several processes that train one network together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from dropkit.study.limits import FEWEST

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """One of ``ranks`` processes that train a network together; by default the only one.

    Each rank takes a share of the rows of every batch, and multiplies the mean loss over its rows
    by the weight from `share`. Then the average of the ranks' gradients is the gradient of the
    whole batch.
    """

    rank: int = 0
    ranks: int = 1

    @property
    def device(self) -> torch.device:
        """The device of this rank: its own GPU if there are GPUs, otherwise the CPU."""
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return (
            torch.device("cpu")
            if accelerator is None
            else torch.device(accelerator.type, self.rank)
        )

    def share(self, count: int) -> tuple[slice, float]:
        """Return this rank's rows of ``count``, and the weight of their mean: ranks · rows / count.

        If there are fewer than two rows per rank, some ranks repeat the rows of the first rank with
        weight 0, because all ranks must take part in every step.

        >>> [Rank(rank, 2).share(5) for rank in range(2)]
        [(slice(0, 2, None), 0.8), (slice(2, 5, None), 1.2)]
        >>> [Rank(rank, 2).share(3) for rank in range(2)]
        [(slice(0, 3, None), 2.0), (slice(0, 3, None), 0.0)]
        """
        taking = max(1, min(self.ranks, count // FEWEST))
        place = self.rank if self.rank < taking else 0
        start, end = count * place // taking, count * (place + 1) // taking
        weight = self.ranks * (end - start) / count if self.rank < taking else 0.0
        return slice(start, end), weight

    def gather(self, mine: T) -> list[T]:
        """Return the values of all ranks in order; every rank must call it."""
        if self.ranks == 1:
            return [mine]
        found: list[Any] = [None] * self.ranks
        distributed.all_gather_object(found, mine)
        return found

    def average(self, values: Tensor) -> Tensor:
        """Replace ``values`` by their mean over the ranks, in place."""
        if self.ranks > 1:
            distributed.all_reduce(values.div_(self.ranks))
        return values

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every rank the mean gradient, in one exchange.

        If a parameter has no gradient on some ranks, its gradient counts as zero there. A parameter
        without a gradient on any rank, for example in a layer that all ranks dropped, gets none.
        """
        if self.ranks == 1:
            return
        for kind in {(p.device, p.dtype) for p in parameters}:
            alike = [p for p in parameters if (p.device, p.dtype) == kind]
            device, dtype = kind
            parts = torch.tensor([p.grad is not None for p in alike], device=device, dtype=dtype)
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in alike]
            flat = torch.cat([parts, *(gradient.flatten() for gradient in gradients)])
            self.average(flat)
            took_part, *averaged = torch.split(flat, [len(alike), *(p.numel() for p in alike)])
            for parameter, took, gradient in zip(alike, took_part.tolist(), averaged, strict=True):
                parameter.grad = gradient.view_as(parameter) if took else None

    def copy_first(self, values: Iterable[Tensor]) -> None:
        """Copy the values of the first rank to every rank, in place."""
        if self.ranks > 1:
            for value in values:
                distributed.broadcast(value.detach(), src=0)


ALONE = Rank()

"""The units of a dropout layer, and the units that the current pass keeps."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit._checks import check_not_recorded
from dropkit.thinned._choice import Choice

# Measured thresholds, as numbers of vectors that are multiplied by the weight. Thinning saves p
# times the number of vectors, but copying a part of the weight and writing its gradient back takes
# time. If thinning saves less than the threshold, ordinary dropout is faster and less noisy; see
# benchmarks/results.
_WORTH_SHARED = 48
_WORTH_ALONE = 128
# On a GPU, launching kernels takes longer than computing a small network, and thinning launches
# more kernels. So the number of saved multiplications, p times the vectors times the weights of the
# first product, must exceed these thresholds. The threshold is higher for tensor cores, which
# multiply faster.
_WORTH_ON_GPU = 4e9
_WORTH_ON_TENSOR_CORES = 5e10


class Units:
    """The units of one thinned dropout layer; the first module in each pass draws the kept units.

    Args:
        name: name of the dropout layer.
        dropout: the dropout layer, for its ``p`` and its mode.
        first: the product that computes the units; without one, the first product that consumes
            them. Units are only drawn while this product is in training mode. Monte-Carlo sampling
            only switches on dropout layers, so it still draws one mask per example.
        size: number of units.
        groups: number of groups of rows in a mini-batch.
        consumers: number of products that consume the units.
    """

    def __init__(
        self,
        name: str,
        dropout: nn.Module,
        first: nn.Module,
        size: int,
        groups: int,
        consumers: int = 0,
    ) -> None:
        self.name = name
        self.dropout: Any = dropout
        self.first = first
        self.size = size
        self.groups = groups
        self.consumers = consumers
        self._choice = Choice(size)
        # Count weights now, because a wrapper that shards parameters may hide them later.
        weights = [weight for weight in first.parameters() if weight.dim() > 1]
        self._weights = sum(weight.numel() for weight in weights)
        self._convolves = any(weight.dim() > 2 for weight in weights)
        #: Whether copying costs less: several products share the cost, or a weight is copied
        #: anyway.
        self.shared = False
        self._kept: tuple[Tensor, ...] | None = None
        self.skip()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mask of the last pass out of copies and pickles."""
        return {**self.__dict__, "_kept": None, "_to_drop": 0, "_to_consume": 0}

    @property
    def count(self) -> int:
        """The number of kept units: ``round((1 − p) · size)``."""
        return round((1.0 - float(self.dropout.p)) * self.size)

    @property
    def share(self) -> float:
        """The fraction of units that thinned passes compute; 1 if no unit can be left out."""
        return self.count / self.size if self.count else 1.0

    def rows(self, like: Tensor, groups: int) -> int | None:
        """Return the smallest number of vectors in a mini-batch for which thinning saves time.

        Return None if no unit or every unit is dropped at this rate.

        Args:
            like: a tensor with the device and dtype of the products.
            groups: number of groups of rows in the mini-batch.
        """
        if not 0 < self.count < self.size:
            return None
        p = float(self.dropout.p)
        rows = groups * math.ceil((_WORTH_SHARED if self.shared else _WORTH_ALONE) / p)
        if like.is_cuda:
            cores = _on_tensor_cores(like.dtype, self._convolves)
            saved = p * max(1, self._weights)  # for each vector
            rows = max(
                rows, math.ceil((_WORTH_ON_TENSOR_CORES if cores else _WORTH_ON_GPU) / saved)
            )
        return rows

    @property
    def scale(self) -> float:
        """The factor of kept units, size / count."""
        return self.size / self.count

    def forget(self) -> None:
        """Forget earlier masks, so that they do not influence the next ones."""
        self._choice = Choice(self.size)

    def draw(self, x: Tensor, spatial: int) -> Sequence[Tensor] | None:
        """Draw the units that each group of rows keeps, ascending; None means ordinary dropout.

        Args:
            x: (N, features, …) or (N, …, features), or one example without N.
            spatial: number of dimensions after the features.
        """
        self.skip()
        if not (self.first.training and self.dropout.training):
            return None
        vectors = x.numel() // max(1, x.shape[-1 - spatial])
        groups = max(1, min(self.groups, len(x))) if x.dim() > spatial + 1 else 1
        rows = self.rows(x, groups)
        if rows is None or vectors < rows:
            return None
        check_not_recorded(x, "a thinned net")
        kept = self._choice.draw(self.count, groups)
        # This does not wait for a GPU: memory that is not pinned is copied to a buffer first. For
        # more than about 64 KiB, the driver may wait for earlier work.
        self._kept = kept.to(x.device, non_blocking=True).unbind()
        self._to_drop = 1
        return self._kept

    def skip(self) -> None:
        """Use ordinary dropout in this pass."""
        self._kept = None
        self._to_drop = self._to_consume = 0  # how many uses of the drawn units are still expected

    def making(self) -> Sequence[Tensor] | None:
        """Return the drawn units, for modules between the producer and the dropout layer."""
        return self._kept

    def drop(self, width: int) -> Sequence[Tensor] | None:
        """Return the drawn units, for a dropout layer with ``width`` input units; None for all."""
        kept = self._drawn(width, self._to_drop)
        if kept is not None:
            self._to_drop, self._to_consume = 0, self.consumers
        return kept

    def consume(self, width: int) -> Sequence[Tensor] | None:
        """Return the drawn units, for a product whose input has ``width`` units; None for all."""
        kept = self._drawn(width, self._to_consume)
        if kept is not None:
            self._to_consume -= 1
        return kept

    def _drawn(self, width: int, times: int) -> Sequence[Tensor] | None:
        kept = self._kept
        if kept is None or width == self.size or not self.dropout.training:
            return None
        # Activation checkpointing computes the pass again during the backward pass.
        if width != len(kept[0]) or (times < 1 and torch._C._current_graph_task_id() < 0):
            raise RuntimeError(
                f"the units of {self.name or 'the model'} must pass its dropout layer, once in "
                f"each pass of the whole model, but {width} of {self.size} did not: the model was "
                "changed after thin, or only a part was called; change the model before thin, and "
                "call parts in evaluation or after plan.undo"
            )
        return kept


def _on_tensor_cores(dtype: torch.dtype, convolves: bool) -> bool:
    if dtype == torch.float64:
        return False
    if dtype != torch.float32 or torch.is_autocast_enabled("cuda"):
        return True
    # Read torch's newer setting, because reading the older setting fails if the newer one was set.
    backends: Any = torch.backends
    products = backends.cudnn.conv if convolves else backends.cuda.matmul
    return bool(products.fp32_precision == "tf32")


# The same as torch.compiler.assume_constant_result, without importing the compiler.
_on_tensor_cores._dynamo_marked_constant = True  # type: ignore[attr-defined]

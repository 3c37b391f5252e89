"""The units that a dropout layer drops, and which of them the present pass keeps."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dropkit._checks import check_not_recorded
from dropkit.thinned._choice import Choice

# To cut a weight out and to put its gradient back costs as much as some multiplications by it. The
# thinned products must save that many, p times the vectors they multiply, or else dropout with a
# mask for each example is both faster and less noisy. Measured; see benchmarks/results.
_WORTH_SHARED = 48
_WORTH_ALONE = 128
# A GPU is quicker with a small net than the program that feeds it, and thinning has more to say.
# There the multiplications that are saved, p times the vectors times the weights of the first
# product, must come to so many; on tensor cores to more, which are done sooner.
_WORTH_ON_GPU = 4e9
_WORTH_ON_TENSOR_CORES = 5e10


class Units:
    """The units of one place, drawn anew in every pass by whichever module comes first.

    Args:
        name: of the dropout layer.
        dropout: the layer; its ``p`` and its mode count.
        first: the product that makes the units, or else the one that consumes them. Masks for
            groups are drawn only while it trains too: Monte-Carlo samples, in which the dropout
            layers alone are on, keep their mask for each example.
        size: how many units there are.
        groups: sub-networks in a mini-batch.
        consumers: how many products consume the units.
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
        # Now, for a wrapper that shards parameters may hide them in a pass.
        weights = [weight for weight in first.parameters() if weight.dim() > 1]
        self._weights = sum(weight.numel() for weight in weights)
        self._convolves = any(weight.dim() > 2 for weight in weights)
        #: Whether two products save for the cuts, or one whose weight is cut for others anyway.
        self.shared = False
        self._kept: tuple[Tensor, ...] | None = None
        self.skip()

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles go without the mask of the last pass."""
        return {**self.__dict__, "_kept": None, "_to_drop": 0, "_to_consume": 0}

    @property
    def count(self) -> int:
        """How many units are kept: ``round((1 − p) · size)``."""
        return round((1.0 - float(self.dropout.p)) * self.size)

    @property
    def share(self) -> float:
        """The share of the units that thinned passes compute: all at rates that thin nothing."""
        return self.count / self.size if self.count else 1.0

    def rows(self, like: Tensor, groups: int) -> int | None:
        """From how many vectors in a mini-batch on it pays to thin; None if nothing is dropped.

        Args:
            like: a tensor of the device and the type that the products have.
            groups: sub-networks in the mini-batch.
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
        """What kept units are multiplied by: size / count, the inverse of the share kept."""
        return self.size / self.count

    def forget(self) -> None:
        """Let the next masks make up for none before them."""
        self._choice = Choice(self.size)

    def draw(self, x: Tensor, spatial: int) -> Sequence[Tensor] | None:
        """Draw which units each group of rows keeps, in ascending order; None to drop as ever.

        Args:
            x: (N, features, …) or (N, …, features) or one example without N.
            spatial: how many dimensions follow that of the features.
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
        # A GPU is not waited for: memory that is not pinned is copied aside at once, though of more
        # than some 64 KiB the driver may wait for what the GPU was given before.
        self._kept = kept.to(x.device, non_blocking=True).unbind()
        self._to_drop = 1
        return self._kept

    def skip(self) -> None:
        """Draw nothing, to drop as ever."""
        self._kept = None
        self._to_drop = self._to_consume = 0  # how often what was drawn is still to be used

    def making(self) -> Sequence[Tensor] | None:
        """Return what ``draw`` drew, for what acts on the units before they are dropped."""
        return self._kept

    def drop(self, width: int) -> Sequence[Tensor] | None:
        """Return what ``draw`` drew, for the dropout layer of so many units; None for all."""
        kept = self._drawn(width, self._to_drop)
        if kept is not None:
            self._to_drop, self._to_consume = 0, self.consumers
        return kept

    def consume(self, width: int) -> Sequence[Tensor] | None:
        """Return what ``draw`` drew, for a product that consumes so many units; None for all."""
        kept = self._drawn(width, self._to_consume)
        if kept is not None:
            self._to_consume -= 1
        return kept

    def _drawn(self, width: int, times: int) -> Sequence[Tensor] | None:
        kept = self._kept
        if kept is None or width == self.size or not self.dropout.training:
            return None
        # What is checkpointed is computed again in the backward pass.
        if width != len(kept[0]) or (times < 1 and torch._C._current_graph_task_id() < 0):
            raise RuntimeError(
                f"the units of {self.name or 'the model'} must pass its dropout layer, once in "
                f"each pass of the whole model, but {width} of {self.size} did not: the model was "
                "changed after thin, or a part of it was called alone; change it first, call thin "
                "last, and call parts in evaluation or after plan.undo"
            )
        return kept


def _on_tensor_cores(dtype: torch.dtype, convolves: bool) -> bool:
    if dtype == torch.float64:
        return False
    if dtype != torch.float32 or torch.is_autocast_enabled("cuda"):
        return True
    # By torch's newer setting, since reading the older one fails where the newer was used.
    backends: Any = torch.backends
    products = backends.cudnn.conv if convolves else backends.cuda.matmul
    return bool(products.fp32_precision == "tf32")


# The mark of torch.compiler.assume_constant_result, which would import all of the compiler.
_on_tensor_cores._dynamo_marked_constant = True  # type: ignore[attr-defined]

"""Forward passes that replace those of the modules in a thinned network."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dropkit.thinned._linear import Kept, by_group, linear
from dropkit.thinned._take import Parts, put, take
from dropkit.thinned._units import Units


class Product:
    """The forward pass of a linear or convolutional layer with thinned inputs, outputs or both.

    Args:
        module: the layer, whose parameters are used.
        inner: the units that the layer consumes.
        repeat: number of the layer's inputs per consumed unit; above 1 if a feature map is
            flattened before.
        outer: the units that the layer computes.
    """

    def __init__(
        self,
        module: nn.Module,
        inner: Units | None = None,
        repeat: int = 1,
        outer: Units | None = None,
    ) -> None:
        self.module: Any = module
        self.inner, self.repeat, self.outer = inner, repeat, outer
        #: The batch normalizations that follow.
        self.norms: tuple[Any, ...] = ()
        #: The kept outputs and inputs of each pass; None unless a `LazyOptimizer` records them.
        self.passes: list[tuple[Kept, Kept]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Do not record passes in copies and pickles."""
        return {**self.__dict__, "passes": None}

    @property
    def saved(self) -> float:
        """The fraction of multiplications that the layer saves at the current rates."""
        return 1.0 - math.prod(u.share for u in (self.inner, self.outer) if u is not None)

    def __call__(self, input: Tensor) -> Tensor:
        module, x = self.module, input
        spatial = module.weight.dim() - 2
        rows = None
        if self.outer is not None:
            # If the statistics average over all batches, as in `update_bn`, all channels must see
            # the same batches.
            averages = any(norm.momentum is None for norm in self.norms)
            if averages or (self.norms and x.dim() > 2 + spatial):
                self.outer.skip()
            else:
                rows = self.outer.draw(x, spatial)
        columns = None
        if self.inner is not None:
            columns = self.inner.consume(x.shape[-1 - spatial] // self.repeat)
        if columns is not None and self.repeat > 1:
            each = torch.arange(self.repeat, device=x.device)
            columns = [(index[:, None] * self.repeat + each).view(-1) for index in columns]
        if self.passes is not None and torch.is_grad_enabled():
            self.passes.append((rows, columns))
        if rows is None and columns is None:
            return type(module).forward(module, x)  # type: ignore[no-any-return]
        scale = 1.0 if columns is None or self.inner is None else self.inner.scale
        parameters = module.weight, module.bias
        if isinstance(module, nn.Linear):
            return linear(x, *parameters, rows, columns, scale)
        return by_group(module._conv_forward, x, *parameters, rows, columns, scale)


class Norm:
    """The forward pass of batch normalization on kept channels; others keep their statistics."""

    def __init__(self, module: nn.Module, units: Units) -> None:
        self.module: Any = module
        self.units = units

    def __call__(self, input: Tensor) -> Tensor:
        module, x, kept = self.module, input, self.units.making()
        if kept is None or x.shape[1] == self.units.size:
            return type(module).forward(module, x)  # type: ignore[no-any-return]
        (index,) = kept
        parts = [(0, index)]
        weight, bias = (p if p is None else take(p, parts) for p in (module.weight, module.bias))
        running = (module.running_mean, module.running_var)
        mean, var = (r if r is None else r.index_select(0, index) for r in running)
        by_batch = module.training or mean is None
        y = F.batch_norm(x, mean, var, weight, bias, by_batch, module.momentum, module.eps)
        if module.training and mean is not None:
            for whole, part in zip(running, (mean, var), strict=True):
                whole.index_copy_(0, index, part)
            module.num_batches_tracked.add_(1)
        return y


class Drop:
    """The forward pass of a thinned dropout layer.

    Args:
        module: the dropout layer.
        units: the units of the layer.
        spatial: number of dimensions of the input after the units.
        made: whether the layer before computes only the kept units; otherwise this pass selects
            them.
        consumed: whether the layers after consume only the kept units, and scale them; otherwise
            this pass fills dropped units with zeros.
    """

    def __init__(
        self, module: nn.Module, units: Units, spatial: int, made: bool, consumed: bool
    ) -> None:
        self.module: Any = module
        self.units, self.spatial, self.made, self.consumed = units, spatial, made, consumed

    def __call__(self, input: Tensor) -> Tensor:
        units, x = self.units, input
        drawn = None if self.made else units.draw(x, self.spatial)
        if drawn is not None:
            x = self._each(x, drawn, take)
        kept = units.drop(x.shape[-1 - self.spatial])
        if kept is None:
            return type(self.module).forward(self.module, x)  # type: ignore[no-any-return]
        return x if self.consumed else self._each(x * units.scale, kept, self._put)

    def _put(self, x: Tensor, parts: Parts) -> Tensor:
        shape = list(x.shape)
        shape[-1 - self.spatial] = self.units.size
        return put(x, parts, shape)

    def _each(self, x: Tensor, kept: Sequence[Tensor], act: Any) -> Tensor:
        dim = -1 - self.spatial
        if len(kept) == 1:
            return act(x, [(dim, kept[0])])  # type: ignore[no-any-return]
        parts = zip(x.tensor_split(len(kept)), kept, strict=True)
        return torch.cat([act(part, [(dim, index)]) for part, index in parts])

"""What the modules of a thinned place do in the place of their own forward pass."""

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
    """A linear or convolutional layer whose output units, input units or both are thinned.

    Args:
        module: the layer, whose parameters are used.
        inner: the units that it consumes.
        repeat: how many of its inputs belong to one of these, after a flattened feature map.
        outer: the units that it makes.
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
        #: The batch normalizations that follow, of dimension 1 however many there are.
        self.norms: tuple[Any, ...] = ()
        #: The outputs and inputs kept in each pass, if somebody asks.
        self.passes: list[tuple[Kept, Kept]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles nobody asks yet."""
        return {**self.__dict__, "passes": None}

    @property
    def saved(self) -> float:
        """The share of its multiplications that it saves at the present rates."""
        return 1.0 - math.prod(u.share for u in (self.inner, self.outer) if u is not None)

    def __call__(self, input: Tensor) -> Tensor:
        module, x = self.module, input
        spatial = module.weight.dim() - 2
        rows = None
        if self.outer is not None:
            # Averages over all batches, `update_bn` makes them, must be of the same ones.
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
    """A batch normalization of the kept channels: the others' running statistics stay."""

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
    """A dropout layer whose input, output or both hold the kept units alone.

    Args:
        module: the layer.
        units: what it drops.
        spatial: dimensions of the input after that of the units.
        made: whether what comes before makes the kept units alone; otherwise they are taken here.
        consumed: whether what comes after consumes the kept units alone, and scales them;
            otherwise zeros are put in the place of the others here.
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

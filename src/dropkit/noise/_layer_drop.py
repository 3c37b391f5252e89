"""LayerDrop: whole layers of a deep network are skipped, so that a shallower one can be cut out."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Self

import torch
from torch import Tensor, nn

from dropkit._checks import check_not_recorded, is_unrolled
from dropkit.noise._base import HoldsNoise
from dropkit.noise._dropout import Dropout


class LayerDrop(nn.Module, HoldsNoise):
    """Layers in sequence, each of them skipped with probability p at a call, for the whole batch.

    ``x ← layer(x)`` with probability 1 − p and ``x ← x`` otherwise, for one layer after the other;
    in evaluation all of them run. Nothing is rescaled: the layers learn to do without each other,
    and ``every`` takes a shallower network out of the trained one.

    Args:
        layers: modules that map a tensor to one of the same shape, such as the encoder layers of
            a transformer; in order.
        p: probability of skipping a layer, in [0, 1]; change it as ``encoder.drop.p``. To cut the
            network from N to n layers later, 1 − n/N leaves n of them on average.

    Raises:
        ValueError: p outside [0, 1]; at the call, a layer that changes the shape.

    >>> encoder = LayerDrop([nn.Linear(4, 4) for _ in range(6)], p=0.5)
    >>> encoder(torch.ones(3, 4)).shape
    torch.Size([3, 4])
    >>> len(encoder.every(2).layers)
    3

    Reference: Fan, Grave & Joulin, "Reducing transformer depth on demand with structured dropout"
    (2020). The parameters of a skipped layer get gradients of zero, not none, because
    data-parallel training waits for all of them. Compiled and traced code and function transforms
    run every layer and then select, because what is skipped is unknown when the program is made:
    the same result, unless the layers draw noise themselves or, like batch normalization, keep
    statistics.
    """

    def __init__(self, layers: Iterable[nn.Module], p: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.drop = Dropout(p)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the layers make of ``x``; each also takes the further arguments."""
        if not self.drop.training:
            for layer in self.layers:
                x = _run(layer, x, args, kwargs)
            return x
        # On the CPU, so that a GPU need not be waited for.
        keep = self.drop(torch.ones(len(self.layers), device="cpu")) > 0
        if is_unrolled():
            for layer, kept in zip(self.layers, keep.to(x.device, non_blocking=True), strict=True):
                x = torch.where(kept, _run(layer, x, args, kwargs), x)
            return x
        check_not_recorded(x, "LayerDrop")
        for layer, kept in zip(self.layers, keep.tolist(), strict=True):
            x = _run(layer, x, args, kwargs) if kept else _skip(layer, x)
        return x

    def every(self, n: int) -> Self:
        """Return a pruned copy that only has the layers 0, n, 2n, ….

        At n = 2 it is the paper's "every other".

        Raises:
            ValueError: n not a positive int.
        """
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be an int, 1 or more, got {n!r}; 2 keeps every other layer")
        pruned = deepcopy(self)
        pruned.layers = pruned.layers[::n]
        return pruned


class _Skip(torch.autograd.Function):
    """The identity of x, in whose backward pass the parameters take part with gradients of zero."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return x.clone()  # of a view, what follows could not work in place

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return grad, *(torch.zeros_like(weight) for weight in ctx.parameters)


def _skip(layer: nn.Module, x: Tensor) -> Tensor:
    return _Skip.apply(x, *layer.parameters())  # type: ignore[no-any-return, no-untyped-call]


def _run(layer: nn.Module, x: Tensor, args: Any, kwargs: Any) -> Tensor:
    out = layer(x, *args, **kwargs)
    if not isinstance(out, Tensor) or out.shape != x.shape:
        found = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"a layer must return a tensor of the shape of its input, {tuple(x.shape)}, so that "
            f"it can be skipped; {type(layer).__name__} returned {found}"
        )
    return out

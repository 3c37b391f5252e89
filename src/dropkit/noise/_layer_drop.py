"""LayerDrop: skip whole layers in training, so that layers can be removed afterwards."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any, Self

import torch
from torch import Tensor, nn

from dropkit._checks import check_not_recorded, is_unrolled
from dropkit.noise._base import HoldsNoise
from dropkit.noise._dropout import Dropout


class LayerDrop(nn.Module, HoldsNoise):
    """A sequence of layers: each call skips each layer with probability p, for the whole batch.

    For each layer, ``x ← layer(x)`` with probability 1 − p, otherwise ``x`` stays. In evaluation
    all layers run. Nothing is rescaled. The layers learn not to depend on each other, so the method
    ``every(k)`` can cut a shallower network out of the trained one.

    Args:
        layers: modules that map a tensor to one of the same shape, such as the encoder layers of
            a transformer; in order.
        p: probability of skipping a layer, in [0, 1]; to change it later, set ``drop.p`` of this
            module. To cut the network from N to n layers later, use 1 − n/N, so that n layers run
            on average.

    Raises:
        ValueError: p outside [0, 1]; at the call, a layer that changes the shape.

    >>> encoder = LayerDrop([nn.Linear(4, 4) for _ in range(6)], p=0.5)
    >>> encoder(torch.ones(3, 4)).shape
    torch.Size([3, 4])
    >>> len(encoder.every(2).layers)
    3

    Reference: Fan, Grave & Joulin, "Reducing transformer depth on demand with structured dropout"
    (2020). The parameters of a skipped layer get zero gradients instead of None, because
    data-parallel training waits for every gradient. Compiled code, traced code and function
    transforms run every layer and discard the output of skipped ones. The result is the same,
    unless the layers draw noise themselves or keep statistics, like batch normalization.
    """

    def __init__(self, layers: Iterable[nn.Module], p: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.drop = Dropout(p)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the layers on ``x``; each layer also gets the additional arguments."""
        if not self.drop.training:
            for layer in self.layers:
                x = _run(layer, x, args, kwargs)
            return x
        # Draw the mask on the CPU, so that reading it does not wait for a GPU.
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
        """Return a smaller copy that only has the layers 0, n, 2n, ….

        n = 2 is the "every other" strategy of the paper.

        Raises:
            ValueError: n not a positive int.
        """
        if not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be an int, 1 or more, got {n!r}; 2 keeps every other layer")
        pruned = deepcopy(self)
        pruned.layers = pruned.layers[::n]
        return pruned


class _Skip(torch.autograd.Function):
    """Return x, and give the parameters gradients of zero in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        ctx.parameters = parameters
        return x.clone()  # autograd forbids in-place operations on a returned view

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

"""Keep one mask per layer over several calls of a model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropkit._drops import drops_by_own_flag
from dropkit.noise import Noise
from dropkit.noise._base import HoldsNoise
from dropkit.random.ranks import data_rank
from dropkit.random.seed import draw_seed

__all__ = ["frozen_masks"]

_LOCK = threading.Lock()
_frozen: set[nn.Module] = set()


@contextmanager
def frozen_masks(model: nn.Module, *, seed: int | None = None) -> Iterator[None]:
    """Use the same dropout masks in all calls of a model within a ``with`` block.

    Use this block for a line search, or for an optimizer that evaluates its closure several times,
    such as ``torch.optim.LBFGS``. Each layer draws its own mask at the beginning of the block; a
    layer that is called several times uses the same mask each time. Modes do not change: in
    evaluation nothing is dropped, except inside ``sampling``.

    Args:
        model: any module with dropkit's dropout layers; ``replace(model)`` converts torch's.
        seed: random seed of the masks. Default: drawn from torch's default generator. Data-parallel
            processes have different masks.

    Returns:
        A context manager. At the end of the block each layer gets its previous ``seed`` back.

    Raises:
        ValueError: the model has no dropout layer of dropkit, or it has other dropout, whose masks
            cannot be fixed.
        RuntimeError: the model is already in a block of ``frozen_masks``.

    >>> from dropkit.noise import Dropout
    >>> net, x = nn.Sequential(nn.Linear(3, 8), Dropout(0.5), nn.Linear(8, 1)), torch.ones(4, 3)
    >>> with frozen_masks(net):
    ...     torch.equal(net(x), net(x))
    True
    >>> torch.equal(net(x), net(x))
    False
    """
    layers = [module for module in model.modules() if isinstance(module, Noise)]
    others = [name for name, module in model.named_modules() if _draws_otherwise(module)]
    if others or not layers:
        found = ", ".join(repr(name) for name in others) or "no dropout"
        raise ValueError(
            "all dropout of the model must be dropkit's layers, whose masks can be frozen, "
            f"found {found}; convert torch's with dropkit.replace(model), and undo thin"
        )
    with _LOCK:
        if not _frozen.isdisjoint(layers):
            raise RuntimeError(
                "the model is already in a block of frozen_masks; end that block first"
            )
        _frozen.update(layers)
    before = [layer.seed for layer in layers]
    try:
        generator = torch.Generator(device="cpu")
        # Add the rank, because the default generators of the ranks may be equal.
        generator.manual_seed((int(draw_seed()) if seed is None else seed) + data_rank())
        for layer in layers:
            layer.seed = draw_seed(generator=generator)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.seed = own
        with _LOCK:
            _frozen.difference_update(layers)


def _draws_otherwise(module: nn.Module) -> bool:
    """Whether a module draws masks that the ``seed`` of a dropkit layer does not fix."""
    if isinstance(module, Noise):
        return "forward" in vars(module)  # thinned
    if isinstance(module, HoldsNoise | nn.TransformerEncoderLayer):  # their children are checked
        return False
    return drops_by_own_flag(module) is True and getattr(module, "p", None) != 0

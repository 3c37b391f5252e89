"""Seed generators, and hash the initial weights and the first batch of a training."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

_SAMPLE = 4096  # numbers to hash per tensor, because hashing a whole large model takes seconds


def seed_generators(*numbers: int) -> None:
    """Seed torch, NumPy and ``random`` with a hash of the numbers."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    np.random.seed(int.from_bytes(digest[8:12], "little"))
    random.seed(digest)


@contextmanager
def kept_generators() -> Iterator[None]:
    """Restore the states of torch's, NumPy's and Python's generators at the end."""
    ours, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(ours)
            np.random.set_state(numpys)


def digest_weights(model: nn.Module) -> str:
    """Return a hexadecimal hash of a model's weights."""
    names = dict(model.named_parameters())
    return _digest((name, weight) for name, weight in names.items() if not is_lazy(weight))


def digest_batch(*batch: Any) -> str:
    """Return a hexadecimal hash of the tensors in a batch."""
    return _digest(_find_tensors(batch))


def _find_tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _find_tensors(each, f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _find_tensors(each, f"{name}.{i}")


def _digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    sha = hashlib.sha256()
    for name, tensor in tensors:
        flat = tensor.detach().reshape(-1)
        few = flat[:: max(1, len(flat) // _SAMPLE)].cpu()
        few = few.float() if few.is_floating_point() else few
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        sha.update(few.contiguous().numpy().tobytes())
    return sha.hexdigest()[:12]


def watch_first_batch(model: nn.Module, see: Callable[[Any], None]) -> None:
    """Call ``see`` with the arguments of the model's first call in training mode."""

    def look(module: nn.Module, args: Any, kwargs: Any) -> None:
        if module.training and not torch.compiler.is_compiling():
            handle.remove()
            see((args, kwargs))

    handle = model.register_forward_pre_hook(look, with_kwargs=True)

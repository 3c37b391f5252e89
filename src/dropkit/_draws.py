"""Save and restore random generators, and count the random numbers that operations draw."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dropkit.random._product import listeners


class Generators:
    """The state of torch's default generators on the CPU and on the devices of a model."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
        cuda = [torch.cuda.default_generators[device.index or 0] for device in devices]
        self._all = [torch.default_generator, *cuda]

    def seed(self, seed: int) -> None:
        """Seed all generators."""
        for generator in self._all:
            generator.manual_seed(seed)

    def get(self) -> list[Tensor]:
        """Return the states of all generators."""
        return [generator.get_state() for generator in self._all]

    def set(self, states: list[Tensor]) -> None:
        """Set the states of all generators."""
        for generator, state in zip(self._all, states, strict=True):
            generator.set_state(state)

    @contextmanager
    def restore_generators(self) -> Iterator[None]:
        """Restore the states at the end of the block."""
        states = self.get()
        try:
            yield
        finally:
            self.set(states)


class Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Record how many random numbers each operation draws, and the bytes of all results.

    For dropkit's own noise, torch only sees the draw of the seed, one number for a batch of any
    size. So count this noise through a listener of the mask engine, and do not count its seed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []
        self.bytes = 0
        self.outside = False
        # Keep the seeds alive, so that no other tensor reuses their addresses.
        self._seeds: dict[int, tuple[Tensor, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        found = [output] if isinstance(output, Tensor) else tree_leaves(output)
        tensors = [leaf for leaf in found if isinstance(leaf, Tensor)]
        self.bytes += sum(t.nbytes for t in tensors)
        if torch.Tag.nondeterministic_seeded in func.tags:
            for drawn in tensors:
                if not drawn.dim():
                    self._seeds[drawn.data_ptr()] = drawn, len(self.sizes)
            self.sizes.append(sum(t.numel() for t in tensors))
        elif func is torch.ops.dropkit.make_key.default and args[0].data_ptr() in self._seeds:
            self._seeds[output.data_ptr()] = output, self._seeds[args[0].data_ptr()][1]
        return output

    def _product(self, x: Tensor, seed: Tensor, shared: tuple[int, ...]) -> None:
        if seed.data_ptr() in self._seeds:
            self.sizes[self._seeds[seed.data_ptr()][1]] = 0
        dims = range(seed.dim(), x.dim())
        self.sizes.append(prod(x.shape[d] for d in dims if d - seed.dim() not in shared))

    def __enter__(self) -> Self:
        self._before = listeners.product
        listeners.product = self._product
        self._outside = outside_state()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        listeners.product = self._before
        self.outside = outside_state() != self._outside
        if self.outside:
            self.sizes.append(1)


def outside_state() -> tuple[Any, ...]:
    """Return the states of NumPy's and Python's default generators."""
    name, keys, *rest = np.random.get_state()
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest

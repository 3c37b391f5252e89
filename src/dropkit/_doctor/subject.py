"""Run a copy of the model on the example, as often as the checks need."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map_only

from dropkit._copying import copy_model
from dropkit._doctor.watch import Run, Watch
from dropkit._draws import Generators
from dropkit._inputs import arguments
from dropkit._mode import device_of, dtype_of


class Subject:
    """A copy of a model, with its inputs.

    Args:
        model: any module; it is copied.
        example: a tensor, a tuple or list of positional arguments, or a mapping of keyword
            arguments.

    Raises:
        ValueError: the model cannot be copied.
    """

    def __init__(self, model: nn.Module, example: Any) -> None:
        model = getattr(model, "_orig_mod", model)  # the module inside torch.compile
        self.model = copy_model(model, "pass the model before its first training step")
        self.names = {module: name for name, module in self.model.named_modules()}
        self.modules = {name: module for module, name in self.names.items()}
        self.args, self.kwargs = arguments(example, device_of(model), dtype_of(model))
        if any(is_lazy(parameter) for parameter in self.model.parameters()):
            self._initialize()
        leaves = [*self.model.parameters(), *self.model.buffers()]
        leaves += [x for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]
        self.generators = Generators(leaves)
        self._borrowed: dict[torch.Generator, Tensor] = {}

    def _initialize(self) -> None:
        """Initialize lazy layers of the copy by a call; the default generator does not change."""
        devices = {p.device for p in self.model.parameters() if p.device.type == "cuda"}
        with torch.no_grad(), torch.random.fork_rng(devices=[*devices]):
            self._forward()

    def parents(self, name: str) -> Iterator[nn.Module]:
        """Yield the parent modules of the module with this name."""
        while name:
            name = name.rpartition(".")[0]
            yield self.modules[name]

    @contextmanager
    def restore_random_state(self) -> Iterator[None]:
        """Restore all random generators at the end: of torch, NumPy, Python and the model."""
        python, numpy = random.getstate(), np.random.get_state()
        with self.generators.restore_generators():
            try:
                yield
            finally:
                random.setstate(python)
                np.random.set_state(numpy)
                for generator, state in self._borrowed.items():
                    generator.set_state(state)

    def run(self, seed: int, *, bits: bool = False, keep: str | None = None) -> Run:
        """Seed the default generators, run the model once, and return the record of the run.

        Args:
            seed: seed of the default generators of torch, NumPy and Python.
            bits: whether to hash inputs and outputs of every call.
            keep: name of the module whose output to keep.
        """
        self._seed(seed)
        watch = Watch(self.names, self.generators, bits, keep)
        try:
            with torch.no_grad(), watch.watching():
                return watch.finish(self._forward())
        finally:
            self._borrowed = watch.borrowed | self._borrowed

    def call(self, seed: int) -> Any:
        """Seed the default generators, run the model once, and return its output."""
        self._seed(seed)
        return self._forward()

    @contextmanager
    def redrawn(self, name: str, seed: int) -> Iterator[None]:
        """Change the random numbers of one module only, within a ``with`` block.

        Args:
            name: name of the module; its submodules are included.
            seed: seed of all generators, including the model's own, at the start of each call of
                the module.
        """
        module = self.modules[name]
        with self.restore_random_state():
            pass  # reset the model's own generators, so that every run starts in the same state
        with ExitStack() as running, ExitStack() as hooks:

            def enter(*_: Any) -> None:
                running.enter_context(self.restore_random_state())
                self._seed(seed)
                for generator in self._borrowed:
                    generator.manual_seed(seed)

            def leave(*_: Any) -> None:
                running.close()

            hooks.callback(module.register_forward_pre_hook(enter, prepend=True).remove)
            hooks.callback(module.register_forward_hook(leave).remove)
            yield

    def _seed(self, seed: int) -> None:
        self.generators.seed(seed)
        random.seed(seed)
        np.random.seed(seed)

    def _forward(self) -> Any:
        args, kwargs = tree_map_only(Tensor, Tensor.clone, (self.args, self.kwargs))
        return self.model(*args, **kwargs)

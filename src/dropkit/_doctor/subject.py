"""Hold a copy of the model with its example, to run as often as a check needs."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from dropkit._copying import copy_model
from dropkit._doctor.watch import Run, Watch
from dropkit._draws import Generators
from dropkit._inputs import arguments
from dropkit._mode import device_of, dtype_of


class Subject:
    """A copy of a model, with inputs.

    Args:
        model: any module; it is copied.
        example: a tensor; a tuple or list of positional arguments; a mapping of named ones.

    Raises:
        ValueError: the model cannot be copied.
    """

    def __init__(self, model: nn.Module, example: Any) -> None:
        model = getattr(model, "_orig_mod", model)  # of a compiled one
        self.model = copy_model(model, "pass it as it is before its first training step")
        self.names = {module: name for name, module in self.model.named_modules()}
        self.modules = {name: module for module, name in self.names.items()}
        self.args, self.kwargs = arguments(example, device_of(model), dtype_of(model))
        leaves = [*self.model.parameters(), *self.model.buffers()]
        leaves += [x for x in tree_leaves((self.args, self.kwargs)) if isinstance(x, Tensor)]
        self.generators = Generators(leaves)
        self._borrowed: dict[torch.Generator, Tensor] = {}

    def parents(self, name: str) -> Iterator[nn.Module]:
        """Yield the modules around the one of a name."""
        while name:
            name = name.rpartition(".")[0]
            yield self.modules[name]

    @contextmanager
    def restore_random_state(self) -> Iterator[None]:
        """Restore all random generators at the end: torch's, NumPy's, Python's, the model's."""
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
        """Run the model once, watched, the default generators seeded.

        Args:
            seed: of torch's, numpy's and Python's default generators.
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
        """Run the model once, seeded, and return what it returns."""
        self._seed(seed)
        return self._forward()

    @contextmanager
    def redrawn(self, name: str, seed: int) -> Iterator[None]:
        """Let one module draw by another seed in each run, and all others the same as ever.

        Args:
            name: of the module, with what it holds.
            seed: of all generators, those of the model too, at the beginning of each of its calls.
        """
        module = self.modules[name]
        with self.restore_random_state():
            pass  # generators of the model go on from where they were in every run
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

"""A model cut in two before its first random draw, and which of its draws belong to one example."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dropkit.noise import Dropout, GaussianDropout, GaussianNoise
from dropkit.random.multiply import canonical_dims

Forward = Callable[[Tensor], Any]

# Their noise has the shape of the input, but for shared_dims.
_ELEMENTWISE = (Dropout, GaussianDropout, GaussianNoise)


@dataclass(frozen=True)
class Parts:
    """A model as ``rest(start(x))``, every random draw in ``rest``.

    Attributes:
        start: the deterministic part, the identity if there is none.
        rest: everything from the first draw on.
        draws: whether there are draws at all.
        independent: whether dimension 0 is that of the examples, and no example acts on another.
        per_example: whether, moreover, each example has noise of its own in one pass.
        row_bytes: upper estimate of the memory that ``rest`` takes for one example.
    """

    start: Forward
    rest: Forward
    draws: bool
    independent: bool
    per_example: bool
    row_bytes: int


class Generators:
    """The state of torch's default generators on the CPU and on the devices of a model."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
        cuda = [torch.cuda.default_generators[device.index or 0] for device in devices]
        self._all = [torch.default_generator, *cuda]

    def seed(self, seed: int) -> None:
        """Seed them."""
        for generator in self._all:
            generator.manual_seed(seed)

    def get(self) -> list[Tensor]:
        """Return their states."""
        return [generator.get_state() for generator in self._all]

    def set(self, states: list[Tensor]) -> None:
        """Set their states."""
        for generator, state in zip(self._all, states, strict=True):
            generator.set_state(state)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Leave them at the end of the block as they were at its beginning."""
        states = self.get()
        try:
            yield
        finally:
            self.set(states)


class _Draws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records how many random numbers each operation draws, and the bytes of all results."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []
        self.bytes = 0
        self._layers = [m for m in model.modules() if type(m) in _ELEMENTWISE]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.sizes.append(sum(t.numel() for t in tensors))
        return output

    def __enter__(self) -> Self:
        self._hooks = [layer.register_forward_pre_hook(self._open) for layer in self._layers]
        self._hooks += [layer.register_forward_hook(self._close) for layer in self._layers]
        self._outside = _outside_state()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        for hook in self._hooks:
            hook.remove()
        if _outside_state() != self._outside:
            self.sizes.append(1)

    def _open(self, layer: nn.Module, args: Any) -> None:
        self._mark = len(self.sizes)

    def _close(self, layer: nn.Module, args: tuple[Tensor], output: Tensor) -> None:
        # Only a seed is drawn with an operation of torch's; the noise is of the input's shape.
        if layer.training and len(self.sizes) > self._mark:
            shape = args[0].shape
            shared = canonical_dims(getattr(layer, "shared_dims", ()), len(shape))
            kept = [n for dim, n in enumerate(shape) if dim not in shared]
            self.sizes[self._mark :] = [torch.Size(kept).numel()]


def _outside_state() -> tuple[Any, ...]:
    """State of the generators outside torch that layers are known to draw from."""
    name, keys, *rest = np.random.get_state()
    return random.getstate(), name, np.asarray(keys).tobytes(), *rest


class _Tracer(fx.Tracer):
    """Looks into modules whose calls nothing else listens to, but for the types given."""

    def __init__(self, steps: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self._steps = steps

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            not m._modules
            or isinstance(m, self._steps)
            or _has_hooks(m)
            or super().is_leaf_module(m, module_qualified_name)
        )


class _Watched(fx.Interpreter):
    """Notes the nodes that draw random numbers, and every node's value."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.random: list[fx.Node] = []

    def run_node(self, n: fx.Node) -> Any:
        with _Draws(self.module) as draws:
            value = super().run_node(n)
        if draws.sizes:
            self.random.append(n)
        return value


def cut(model: nn.Module, x: Tensor, generators: Generators, switch: Any) -> Parts:
    """Cut ``model`` before its first draw and find out how its batch may be enlarged.

    Everything is tried on one or two examples, copies of them since layers may work in place.
    What cannot be made sure, such as a forward pass that branches on values, makes ``rest``
    larger and the passes more, never the result wrong.

    Args:
        model: in evaluation.
        x: its input.
        generators: those of the model; they are left as they are.
        switch: a context manager in which the model's dropout is on.
    """
    two = x[:2] if len(x) > 1 else torch.cat([x, x.roll(1, -1)])
    with generators.restored():
        independent = _acts_by_row(model, two)
        probe = two if independent else x
        with switch:
            start, rest = _split(model, probe, generators)
            if independent and start is not _identity and not _acts_by_row(start, two):
                start, rest = _identity, model
            inner = start(probe.clone())
            with _Draws(model) as whole:
                rest(inner.clone())
            per_example = False
            if independent:
                with _Draws(model) as half:
                    rest(inner[:1].clone())
                per_example = whole.sizes == [2 * size for size in half.sizes]
    row_bytes = whole.bytes // len(probe)
    return Parts(start, rest, bool(whole.sizes), independent, per_example, row_bytes)


def _identity(x: Tensor) -> Tensor:
    return x


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _acts_by_row(forward: Forward, two: Tensor) -> bool:
    """Whether the function of two rows is the function of each of them."""
    try:
        whole, rows = forward(two.clone()), [forward(row.clone()) for row in torch.split(two, 1)]
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False
    if not isinstance(whole, Tensor) or not whole.dim() or len(whole) != 2:
        return False
    if any(row.shape != whole[:1].shape for row in rows):
        return False
    difference = (whole - torch.cat(rows)).abs().max()
    if not whole.is_floating_point():
        return bool(difference == 0)
    # Kernels may sum in another order for another batch.
    return bool(difference <= torch.finfo(whole.dtype).eps ** 0.5 * whole.abs().max())


def _split(model: nn.Module, two: Tensor, generators: Generators) -> tuple[Forward, Forward]:
    if not _has_hooks(model):
        inner = {type(m) for m in model.modules() if m is not model} - {nn.Sequential}
        for steps in ((), tuple(inner)):
            parts = _traced(model, steps, two, generators)
            if parts is not None:
                return parts
    return _identity, model


def _traced(
    model: nn.Module, steps: tuple[type[nn.Module], ...], two: Tensor, generators: Generators
) -> tuple[Forward, Forward] | None:
    try:
        with _Draws(model) as draws:
            graph = _Tracer(steps).trace(model)
        # Drawn while tracing, it would be the same number for ever.
        if draws.sizes:
            return None
        watched = _Watched(fx.GraphModule(model, graph))
        state = generators.get()
        output = watched.run(two.clone())
        generators.set(state)
        if not torch.equal(output, model(two.clone())):
            return None
    except Exception:  # whatever a stranger's forward pass does when followed with symbols
        return None
    return _divide(model, watched)


def _divide(model: nn.Module, watched: _Watched) -> tuple[Forward, Forward] | None:
    """Cut at the last node before the first draw that alone determines everything after it."""
    nodes = list(watched.graph.nodes)
    place = {node: i for i, node in enumerate(nodes)}
    first = place[watched.random[0]] if watched.random else 0
    for last in range(first - 1, 0, -1):
        needed = {
            source
            for node in nodes[last + 1 :]
            for source in node.all_input_nodes
            if place[source] <= last and source.op != "get_attr"
        }
        if needed == {nodes[last]} and isinstance(watched.env[nodes[last]], Tensor):
            return _subgraph(model, nodes[: last + 1]), _subgraph(model, nodes[last:])
    return None


def _subgraph(model: nn.Module, nodes: list[fx.Node]) -> fx.GraphModule:
    """The nodes as a module: what comes before them is its input, the last its output."""
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    if nodes[0].op != "placeholder":
        copies[nodes[0]] = graph.placeholder("x")
        nodes = nodes[1:]
    for node in nodes:
        for source in node.all_input_nodes:
            if source not in copies:
                copies[source] = graph.node_copy(source)
        copies[node] = graph.node_copy(node, copies.__getitem__)
    if nodes[-1].op != "output":
        graph.output(copies[nodes[-1]])
    return fx.GraphModule(model, graph)

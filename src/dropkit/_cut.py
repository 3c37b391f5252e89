"""Split a model before its first random draw, and find out whether rows draw independently."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from dropkit import functional
from dropkit._draws import Draws, Generators
from dropkit._tracer import LocalTracer
from dropkit._twin import share

Forward = Callable[[Tensor], Any]
Switch = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True)
class Parts:
    """A model split into ``rest(inner)``; all random draws are in ``rest``.

    Attributes:
        inner: output of the deterministic part, or the input if there is no deterministic part.
        rest: all operations from the first draw on.
        draws: whether the model draws any random numbers.
        independent: whether rows of ``inner``, along dimension 0, do not affect each other.
        per_example: whether rows are independent, and each row of a batch gets its own noise.
        row_bytes: upper estimate of the memory of ``rest`` for one row.
    """

    inner: Tensor
    rest: Forward
    draws: bool
    independent: bool
    per_example: bool
    row_bytes: int


class _Tracer(LocalTracer):
    """Trace a model through all modules, except those with hooks and the given types.

    Functions of dropkit are single steps, because they check their arguments.
    """

    def __init__(self, steps: tuple[type[nn.Module], ...]) -> None:
        super().__init__(functional)
        self._steps = steps

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            not m._modules
            or isinstance(m, self._steps)
            or _has_hooks(m)
            or super().is_leaf_module(m, module_qualified_name)
        )


class _Watched(fx.Interpreter):
    """Record the nodes that draw random numbers, and the values before the first draw."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.random: list[fx.Node] = []
        self.values: dict[fx.Node, Tensor] = {}

    def watch(self, x: Tensor) -> Any:
        """Run the graph."""
        with Draws() as self._draws:
            output = self.run(x)
        if self._draws.outside:  # drawn outside torch, by an unknown node
            self.random = list(self.graph.nodes)
        return output

    def run_node(self, n: fx.Node) -> Any:
        before = len(self._draws.sizes)
        value = super().run_node(n)
        if len(self._draws.sizes) > before:
            self.random.append(n)
        elif not self.random and isinstance(value, Tensor):
            self.values[n] = value.clone()  # later nodes may work in place
        return value


@dataclass(frozen=True)
class _Split:
    """A model as ``rest(start(x))``.

    Attributes:
        start, rest: the two parts.
        calm: ``rest`` in evaluation, without noise.
        begun: the output of ``start`` for the few rows used for splitting.
    """

    start: Forward
    rest: Forward
    calm: Forward
    begun: Tensor


def cut(
    model: nn.Module,
    x: Tensor,
    generators: Generators,
    switch: Switch,
    shared: bool = False,
) -> Parts:
    """Split ``model`` before its first draw, and find out whether samples may share a batch.

    The function runs the model on copies of one or two examples. If a property is uncertain, for
    example because the forward pass branches on values, ``rest`` becomes larger and more passes are
    needed. The function only finds interactions that these few examples show. For example, it may
    miss a model that scales all rows down if their joint norm exceeds a bound.

    Args:
        model: the model, in evaluation.
        x: the input of the model.
        generators: the model's generators; their states do not change.
        switch: returns a context manager that switches the model's dropout on.
        shared: whether all examples share masks; then each row of ``inner`` must be an example, and
            examples must be independent from the input on.
    """
    with generators.restore_generators():
        split = _split(model, x[:2], generators, switch)
        parts = None if split is None else _tried(split, x, switch, shared)
        if parts is None or not (parts.independent if shared else parts.per_example):
            whole = _tried(_Split(_identity, model, model, x[:2]), x, switch, shared)
            # Running only ``rest`` is cheaper, unless only the whole model lets rows share a pass.
            if parts is None or (whole.independent if shared else whole.per_example):
                return whole
    return parts


def _tried(split: _Split, x: Tensor, switch: Switch, shared: bool) -> Parts:
    inner = split.begun if len(x) <= 2 else split.start(x.clone())
    two = _unlike(inner)
    independent = _acts_by_row(split.calm, two)
    if independent and shared and split.start is not _identity:
        independent = _acts_by_row(split.start, _unlike(x))
    probe = two if independent else inner
    with switch():
        with Draws() as whole:
            split.rest(probe.clone())
        per_example = False
        if independent:
            with Draws() as half:
                split.rest(probe[:1].clone())
            per_example = whole.sizes == [2 * size for size in half.sizes]
    rows = len(probe) if probe.dim() else 1
    return Parts(inner, split.rest, any(whole.sizes), independent, per_example, whole.bytes // rows)


def _identity(x: Tensor) -> Tensor:
    return x


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _unlike(x: Tensor) -> Tensor:
    """Return the first row and a different row, because equal rows do not show interactions.

    Use another row of ``x`` if one differs. Invented values are risky: an index outside an
    embedding table raises an error, and on a GPU it makes the process unusable.
    """
    if not x.dim() or not len(x):
        return x
    few = x[:64].to(torch.promote_types(x.dtype, torch.float32))
    few = few.flatten(1) if x.dim() > 1 else few[:, None]
    apart = (few - few[0]).abs().sum(1).nan_to_num()
    if apart.max() > 0.01 * few.abs().sum(1).max():
        return torch.stack([x[0], x[int(apart.argmax())]])
    other = x[-1:].roll(1, -1)
    if other.is_floating_point():
        other = 0.7 * other + 0.1
    elif other.device.type != "cpu":
        other = x[:1]
    return torch.cat([x[:1], other])


def _acts_by_row(forward: Forward, two: Tensor) -> bool:
    """Whether ``forward`` gives the same result for two rows together and for each row alone."""
    if not two.dim() or len(two) != 2 or torch.equal(two[0], two[1]):
        return False
    try:
        whole, rows = forward(two.clone()), [forward(row.clone()) for row in torch.split(two, 1)]
    except Exception:  # the model may reject the second row
        return False
    if not isinstance(whole, Tensor) or not whole.numel() or whole.shape[:1] != (2,):
        return False
    if any(row.shape != whole[:1].shape for row in rows):
        return False
    difference = (whole - torch.cat(rows)).abs().max()
    if not whole.is_floating_point():
        return bool(difference == 0)
    # Kernels may sum in a different order for a different batch size.
    return bool(difference <= torch.finfo(whole.dtype).eps ** 0.5 * whole.abs().max())


def _split(
    model: nn.Module,
    few: Tensor,
    generators: Generators,
    switch: Switch,
) -> _Split | None:
    if not _has_hooks(model):
        inner = {type(m) for m in model.modules() if m is not model} - {nn.Sequential}
        for steps in ((), tuple(inner)):
            split = _traced(model, steps, few, generators, switch)
            if split is not None:
                return split
    return None


def _traced(
    model: nn.Module,
    steps: tuple[type[nn.Module], ...],
    few: Tensor,
    generators: Generators,
    switch: Switch,
) -> _Split | None:
    try:
        with switch():
            with Draws() as draws:
                owner, nodes = _followed(model, steps)
            # A random number that is drawn during tracing would become a constant.
            if draws.sizes:
                return None
            watched = _Watched(owner, nodes[0].graph)
            state = generators.get()
            output = watched.watch(few.clone())
            generators.set(state)
            if not torch.equal(output, model(few.clone())):
                return None
        last = _last(nodes, watched)
        if last is None:
            return None
        calm = rest = _part(owner, nodes[last:])
        # A recorded module still depends on its mode, but a recorded function has fixed arguments,
        # such as training=True. So trace again without dropout.
        if any(node.op != "call_module" for node in watched.random):
            quiet_owner, quiet = _followed(model, steps)
            if list(map(_text, quiet[: last + 1])) != list(map(_text, nodes[: last + 1])):
                return None
            calm = _part(quiet_owner, quiet[last:])

        def start(x: Tensor) -> Any:  # built only if it is called
            return _part(owner, nodes[: last + 1])(x)

        return _Split(start, rest, calm, watched.values[nodes[last]])
    except Exception:  # the model's forward pass may raise any error with symbols
        return None


def _followed(
    model: nn.Module, steps: tuple[type[nn.Module], ...]
) -> tuple[nn.Module, list[fx.Node]]:
    """Return a module that holds the parameters and constants of the trace, and the operations."""
    followed = share(model)[model]
    nodes = list(_Tracer(steps).trace(followed).nodes)
    owner = copy(model)
    for name in vars(followed).keys() - vars(model).keys():  # constants from tracing
        setattr(owner, name, vars(followed)[name])
    return owner, nodes


def _text(node: fx.Node) -> tuple[str, ...]:
    return node.op, str(node.target), str(node.args), str(node.kwargs)


def _last(nodes: list[fx.Node], watched: _Watched) -> int | None:
    """Return the last node before the first draw whose value is all that later nodes need."""
    place = {node: i for i, node in enumerate(nodes)}
    first = place[watched.random[0]] if watched.random else 0
    for last in range(first - 1, 0, -1):
        needed = {
            source
            for node in nodes[last + 1 :]
            for source in node.all_input_nodes
            if place[source] <= last and source.op != "get_attr"
        }
        if needed == {nodes[last]} and nodes[last] in watched.values:
            return last
    return None


def _part(model: nn.Module, nodes: list[fx.Node]) -> Forward:
    """Convert nodes to a function from the value before them to the value of the last node."""
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
    # Interpret the nodes, because compiling a program for a few calls takes longer.
    part = fx.Interpreter(model, graph=graph)
    part.extra_traceback = False
    return part.run

"""Record one run of a model: random draws, module calls, and dropped tensors."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode

from dropkit._doctor.flow import Flow
from dropkit._doctor.outputs import hash_bits, main, tensors
from dropkit._draws import Generators, outside_state
from dropkit._dropout_source import is_named_like_dropout
from dropkit._drops import is_recurrent
from dropkit.noise import AlphaDropout, DropPath, MultiplicativeNoise

_TORCH, _DROPKIT = str(Path(torch.__file__).parent), str(Path(__file__).parent.parent)
_NOISE = (str(Path(_DROPKIT, "noise")), str(Path(_DROPKIT, "random")))
_READ = torch.ops.aten._local_scalar_dense.default
_OPERATIONS = re.compile(r"bernoulli|dropout|rnn")  # recurrent kernels only draw for dropout
_FEW = 64  # a draw of so few numbers may decide which modules run


@dataclass(frozen=True)
class Draw:
    """One draw of random numbers.

    Attributes:
        module: the module whose forward pass was running.
        operation: the function that drew.
        drops: whether the draw is recognized as dropout.
        attention: whether an attention function drew.
        source: ``file.py:line`` of the calling code, ``""`` if all code is torch's.
        state: hash of the generator's state before the draw.
        training: mode of the module that drew, or of the stranger.
        stranger: class of a called module that is not a submodule of the model, ``""`` without one.
    """

    module: str
    operation: str
    drops: bool
    attention: bool
    source: str
    state: int
    training: bool
    stranger: str


@dataclass(frozen=True)
class Call:
    """A call of a module, with hashes of its inputs and outputs."""

    module: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class NormInput:
    """The input of a batch normalization: its variance, and the last dropout before it."""

    module: str
    dropout: str | None
    variance: float


@dataclass
class Run:
    """The record of one run of a model.

    Attributes:
        output: the tensors that the model returned.
        calls: module calls, in the order in which they ended.
        draws: random draws, in order.
        doubled: pairs of modules that dropped the same units, the later module first.
        last: the module whose dropout output is the model's output, or None.
        norms: inputs of batch normalizations, in order.
        kept: output of the module selected by ``keep``.
        branches: whether random numbers may have decided which modules were called.
    """

    output: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    doubled: list[tuple[str, str]] = field(default_factory=list)
    last: str | None = None
    norms: list[NormInput] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)
    branches: bool = False


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fill a ``Run`` while a model runs inside ``watching``.

    Args:
        names: names of the modules to watch.
        generators: torch's default generators.
        bits: whether to hash inputs and outputs of every call.
        keep: name of the module whose output to keep.
    """

    def __init__(
        self,
        names: dict[nn.Module, str],
        generators: Generators,
        bits: bool = False,
        keep: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run = Run()
        #: The model's own generators that drew, with their state before the first draw.
        self.borrowed: dict[torch.Generator, Tensor] = {}
        self._names, self._generators, self._bits, self._keep = names, generators, bits, keep
        self._flow = Flow(lambda: len(self.run.draws), lambda: self._names[self._stack[-1][0]])
        # The running modules, each with the number of earlier draws and the hash of its inputs.
        self._stack: list[tuple[nn.Module, int, int]] = []
        # Running modules outside the model, each with the stack height when it was called.
        self._strangers: list[tuple[nn.Module, int]] = []
        self._outside = outside_state()
        self._dropout: str | None = None
        self._drew_few = self._read = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the model within the block by global hooks, so that its modules get none."""
        own = threading.get_ident()  # models in other threads call the global hooks, too

        def in_own_thread(hook: Any, *args: Any) -> None:
            if threading.get_ident() == own:
                hook(*args)

        with ExitStack() as stack:
            for register, hook in (
                (hooks.register_module_forward_pre_hook, self._enter),
                (hooks.register_module_forward_hook, self._leave),
            ):
                stack.callback(register(partial(in_own_thread, hook)).remove)
            stack.enter_context(self._flow)
            stack.enter_context(self)
            yield

    def finish(self, output: Any) -> Run:
        """Return the record, after the model returned ``output``."""
        run = self.run
        run.output = tensors(output)
        run.last = self._flow.through(main(output))
        run.doubled = self._flow.doubled
        run.branches |= self._drew_few and self._read
        return run

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is _READ:
            self._read = True
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        own = kwargs.get("generator")
        before = self._states(own)
        output = func(*args, **kwargs)
        for old, new in zip(before, self._states(own), strict=True):
            if not torch.equal(old, new):
                if own is not None:
                    self.borrowed.setdefault(own, old)
                self._draw(func.overloadpacket.__name__, hash_bits(old), output)
        return output

    def _states(self, own: torch.Generator | None) -> list[Tensor]:
        return self._generators.get() if own is None else [own.get_state()]

    def _draw(self, operation: str, state: int, output: Any = None) -> None:
        module = self._stack[-1][0] if self._stack else None
        strangers = [stranger for stranger, below in self._strangers if below == len(self._stack)]
        drawing = strangers[-1] if strangers else module
        source, dropkit = _source()
        attention = self._flow.attention or "attention" in operation
        # dropkit's layers draw a seed at any rate.
        drops = getattr(drawing, "p", None) != 0 and (
            dropkit or attention or for_dropout(operation, drawing)
        )
        name = self._names[module] if module is not None else ""
        training = drawing is not None and drawing.training
        stranger = type(strangers[0]).__name__ if strangers else ""
        self.run.draws.append(
            Draw(name, operation, drops, attention, source, state, training, stranger)
        )
        if drops:
            self._dropout = name
        if not dropkit and isinstance(output, Tensor):
            self._drew_few |= output.numel() <= _FEW

    def _look_outside(self) -> None:
        now = outside_state()
        if now != self._outside:
            self._draw("numpy's or Python's generator", hash(self._outside))
            self._outside = now
            self.run.branches = True

    def _enter(self, module: nn.Module, args: Any) -> None:
        if module not in self._names:
            self._strangers.append((module, len(self._stack)))
            return
        self._look_outside()
        if isinstance(module, _BatchNorm) and args:
            if module.running_var is not None:  # otherwise evaluation uses batch statistics too
                name = self._names[module]
                self.run.norms.append(NormInput(name, self._dropout, _variance(args[0])))
            self._dropout = None
        self._stack.append((module, len(self.run.draws), hash_bits(args) if self._bits else 0))

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        if module not in self._names:
            self._strangers.pop()
            return
        self._look_outside()
        _, drawn, inputs = self._stack.pop()
        name = self._names[module]
        self.run.calls.append(Call(name, inputs, hash_bits(output) if self._bits else 0))
        if name == self._keep:
            self.run.kept += [tensor.clone() for tensor in tensors(output)]
        units = isinstance(module, MultiplicativeNoise | AlphaDropout) and module.p != 0
        if units and not isinstance(module, DropPath) and len(self.run.draws) > drawn:
            self._flow.dropped(name, args, output)


def for_dropout(operation: str, module: nn.Module | None) -> bool:
    """Whether an operation that drew in a module is recognized as dropout."""
    return (
        _OPERATIONS.search(operation) is not None
        or is_recurrent(module)
        or is_named_like_dropout(type(module).__name__)
    )


def _variance(x: Tensor) -> float:
    """Return the mean over channels of the variance within a channel."""
    with torch.no_grad():
        channels = x.detach().double().transpose(0, 1).flatten(1)
        return float(channels.var(1).mean()) if channels.shape[1] > 1 else float("nan")


def _source() -> tuple[str, bool]:
    """Return the innermost caller outside torch and dropkit, and whether it calls our noise."""
    frame: FrameType | None = sys._getframe(1)
    dropkit = False
    while frame is not None:
        file = frame.f_code.co_filename
        dropkit = dropkit or file.startswith(_NOISE)
        if frame.f_code.co_name == "run" and file.startswith(_DROPKIT):
            return "", dropkit
        if not file.startswith((_TORCH, _DROPKIT)):
            return f"{Path(file).name}:{frame.f_lineno}", dropkit
        frame = frame.f_back
    return "", dropkit

"""Build the networks of a study: two built-in ones, or a user's own function."""

from __future__ import annotations

import hashlib
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dropkit._mode import mode
from dropkit.errors import StudyError, first_line
from dropkit.study.config import BUILT_IN
from dropkit.study.inputs import AnyRows, shape_of
from dropkit.study.methods.objective import logits_of
from dropkit.study.shapes import describe_shape
from dropkit.study.tasks import TASKS
from dropkit.study.training.feeding import feed
from dropkit.study.training.mismatch import advise
from dropkit.text import nearest
from dropkit.user_code import call_function, load_function

Factory = Callable[[Any, int], nn.Module]


def mlp(inputs: tuple[int, ...], outputs: int, hidden: tuple[int, ...] = (512, 512)) -> nn.Module:
    """Build a multilayer perceptron with ReLU units on the flattened input.

    >>> mlp((1, 8, 8), 10, hidden=(32,))
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=64, out_features=32, bias=True)
      (2): ReLU()
      (3): Linear(in_features=32, out_features=10, bias=True)
    )
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = math.prod(inputs)
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU()]
        width = units
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def cnn(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """Build a small network for images: three 3×3 convolutions, with dropout after the second.

    Conv(64) → ReLU → Conv(32) → ReLU → Dropout → Conv(32) → ReLU → Flatten → Linear. Methods that
    drop units replace the dropout layer; other methods remove it.
    """
    if len(inputs) != 3 or min(inputs[1:]) < 7:
        raise StudyError(
            "the model 'cnn' needs images of at least 7x7 pixels (channels, height, width), got "
            f"rows of shape {'x'.join(map(str, inputs))}; use --model mlp"
        )
    channels, height, width = inputs
    return nn.Sequential(
        nn.Conv2d(channels, 64, 3),
        nn.ReLU(),
        nn.Conv2d(64, 32, 3),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(32, 32, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (height - 6) * (width - 6), outputs),
    )


def factory(model: str | Factory, hidden: tuple[int, ...]) -> Factory:
    """Return the function that builds a new network from (input shape, number of outputs).

    Args:
        model: ``mlp``, ``cnn``, ``file.py:function`` or the function itself. A user's function may
            take both arguments, only the first, or none.
        hidden: widths of the hidden layers of ``mlp``.
    """
    if isinstance(model, nn.Module):
        kind = type(model).__name__
        raise StudyError(
            "model must be a function that makes a new network at each call, got a "
            f"{kind}; give lambda inputs, outputs: {kind}(...)"
        )
    if callable(model):
        return _fit_arguments(model)
    if model == "mlp":
        return lambda inputs, outputs: mlp(inputs, outputs, hidden)
    if model == "cnn":
        return cnn
    if ":" in model:
        return _FromFile(model)
    hint = nearest(model, BUILT_IN)
    raise StudyError(f"unknown model {model!r}: {hint}, or give file.py:function")


class _FromFile:
    """The function ``file.py:function``; a process that unpickles it executes the file again."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self._make = _fit_arguments(load_function(spec))

    def __call__(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return self._make(inputs, outputs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _FromFile, (self.spec,)


def fingerprint(model: str | Callable[..., Any]) -> str:
    """Return a text that identifies a user's function: its name and a hash of its source."""
    if isinstance(model, str):
        if ":" not in model:
            return model
        path, _, name = model.rpartition(":")
        source = Path(path).read_bytes() if Path(path).is_file() else b""
        return f"{Path(path).name}:{name}#{hashlib.sha256(source).hexdigest()[:12]}"
    name = getattr(model, "__qualname__", type(model).__qualname__)
    try:
        source = inspect.getsource(model).encode()
    except (OSError, TypeError):
        source = name.encode()
    return f"{name}#{hashlib.sha256(source).hexdigest()[:12]}"


def architecture(network: nn.Module, rows: AnyRows) -> str:
    """Hash a network's layers, initial weights and outputs, to notice a change of the model.

    Weights and outputs are hashed as norms of a few digits, which are equal on other processors.
    Unlike a hash of the source, this also reveals changes in modules that the source imports.
    """
    layers = re.sub(" at 0x[0-9a-fA-F]+", "", repr(network))
    weights = [
        f"{name} {tuple(p.shape)} {p.detach().abs().double().norm():.4g}"
        for name, p in network.named_parameters()
        if not is_lazy(p)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            outputs = f"{_evaluate(network, rows).norm():.3g}"
        except Exception:  # `check_outputs` reports what is wrong
            outputs = ""
    return hashlib.sha256(f"{layers}{weights}{outputs}".encode()).hexdigest()[:12]


def build(make: Factory, rows: AnyRows, outputs: int, *, seed: int) -> nn.Module:
    """Build the network for such rows, with initial weights that depend only on ``seed``.

    Lazy layers take their shapes from the rows. The global random state is restored.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = call_function(make, shape_of(rows), outputs)
        if isinstance(model, nn.Module) and any(map(is_lazy, model.parameters())):
            _evaluate(model, rows)
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise StudyError(f"the model function must return a torch.nn.Module, got {kind}")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise StudyError("the model has no trainable parameters; return one that has")
    return model


def _evaluate(network: nn.Module, rows: AnyRows) -> Any:
    """Return a network's outputs in evaluation mode; random states and modes are restored."""
    with mode(network, training=False), torch.no_grad(), torch.random.fork_rng(devices=[]):
        return logits_of(call_function(feed(network, rows), rows))


def check_outputs(model: nn.Module, rows: AnyRows, outputs: int, task: str) -> Tensor:
    """Return the outputs; raise `StudyError` unless they are ``outputs`` numbers per input row.

    The model is tried in evaluation and training mode; this changes statistics of normalization
    layers.
    """
    kind = TASKS[task]
    wanted = (
        f"the model must return {outputs} outputs per row ({kind.outputs}), shape ({len(rows)}, "
    )
    wanted += f"{outputs})"
    shape = describe_shape(shape_of(rows))
    is_number = kind.predicts == "numbers" and outputs == 1
    allowed = [(len(rows), outputs)] + ([(len(rows),)] if is_number else [])
    was_training = model.training
    result: Any = None
    try:
        for mode in ("evaluation", "training"):
            with torch.set_grad_enabled(mode == "training"), torch.random.fork_rng():
                try:
                    result = logits_of(model.train(mode == "training")(rows))
                except Exception as error:
                    raise StudyError(
                        f"the model fails on rows of shape {shape} in {mode} mode: "
                        f"{first_line(error)}"
                    ) from error
            if not isinstance(result, torch.Tensor) or tuple(result.shape) not in allowed:
                is_tensor = isinstance(result, torch.Tensor)
                got = f"shape {tuple(result.shape)}" if is_tensor else f"a {type(result).__name__}"
                advice = advise(result, rows, outputs, task)
                raise StudyError(f"{wanted}; got {got} in {mode} mode; {advice}")
            if result.layout != torch.strided or result.device != rows.device:
                where = f"{result.layout} on {result.device}"
                raise StudyError(
                    f"{wanted}, dense and on {rows.device}; got {where} in {mode} mode"
                )
            if result.is_complex():
                raise StudyError(f"{wanted}, real numbers; got {result.dtype} in {mode} mode")
        if not result.requires_grad:
            raise StudyError(
                "the model's output must depend on its trainable parameters, got one without "
                "gradient; remove detach() and no_grad() from its forward"
            )
    finally:
        model.train(was_training)
    answered: Tensor = result
    return answered


def _fit_arguments(function: Callable[..., nn.Module]) -> Factory:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    count = 2 if variadic else min(2, len([p for p in positional if p.default is p.empty]))
    return lambda inputs, outputs: function(*(inputs, outputs)[:count])

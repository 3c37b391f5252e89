"""Training or evaluation, and torch's default device, for a while."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put all of a model in one mode, without its own ``train()``, and put it back."""
    with module_modes(model.modules(), training=training):
        yield


@contextmanager
def module_modes(modules: Iterable[nn.Module], *, training: bool) -> Iterator[None]:
    """Put modules in one mode, each without its children, and put them back."""
    before = [(module, module.training) for module in modules]
    try:
        for module, _ in before:
            module.training = training
        yield
    finally:
        for module, was in before:
            module.training = was


def device_of(model: nn.Module) -> torch.device:
    """Return where a model's first parameter lies; the CPU if it has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Return the type of a model's first parameter of floats; None if it has none."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


@contextmanager
def on_cpu() -> Iterator[None]:
    """Make tensors on the CPU unless told otherwise, whatever torch's default device is."""
    elsewhere = torch.get_default_device().type != "cpu"
    with torch.device("cpu") if elsewhere else nullcontext():
        yield

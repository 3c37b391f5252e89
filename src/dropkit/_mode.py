"""Set the mode of modules, or torch's default device, within a ``with`` block."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Set the mode of all modules of a model without calling ``train()``; restore it later."""
    with module_modes(model.modules(), training=training):
        yield


@contextmanager
def module_modes(modules: Iterable[nn.Module], *, training: bool) -> Iterator[None]:
    """Set the mode of these modules, but not of their children; restore the modes at the end."""
    before = [(module, module.training) for module in modules]
    try:
        for module, _ in before:
            module.training = training
        yield
    finally:
        for module, was in before:
            module.training = was


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter; the CPU if the model has none."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def dtype_of(model: nn.Module) -> torch.dtype | None:
    """Return the dtype of a model's first floating parameter; None if the model has none."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), None)


@contextmanager
def on_cpu() -> Iterator[None]:
    """Use the CPU as torch's default device."""
    elsewhere = torch.get_default_device().type != "cpu"
    with torch.device("cpu") if elsewhere else nullcontext():
        yield

"""Run a model on an example to find modules that the model does not call."""

from typing import Any

import torch
from torch import nn

from dropkit._copying import copy_model
from dropkit._inputs import arguments
from dropkit._mode import device_of


def find_not_called(model: nn.Module, example: Any) -> dict[str, str]:
    """Return the modules that the model does not call on an example, with the reason.

    A copy runs once in training and once in evaluation. The states of torch's random generators do
    not change.

    Raises:
        ValueError: if the model fails on the example.
    """
    copied = copy_model(model, "leave out the example")
    called: set[str] = set()
    for name, module in copied.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    args, kwargs = arguments(example, device_of(model))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[*devices]):
            for mode in (True, False):
                copied.train(mode)(*args, **kwargs)
    except Exception as error:
        raise ValueError(
            f"{type(model).__name__} must run on the example, but it fails: "
            f"{type(error).__name__}: {error}"
        ) from error
    names = (name for name, _ in copied.named_modules())
    return {name: "is not called on the example" for name in names if name not in called}

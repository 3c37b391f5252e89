"""Keep the best weights during training."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

Mode = Literal["min", "max"]


def weights(model: nn.Module) -> dict[str, Any]:
    """Return a detached copy of the model's state dict."""
    return {
        name: entry.detach().clone() if isinstance(entry, Tensor) else entry
        for name, entry in model.state_dict().items()
    }


class Best:
    """Keep the best monitored value so far, the time of this value, and the weights at that time.

    If values are equal, the first one wins. NaN is never the best.
    """

    def __init__(self, mode: Mode) -> None:
        self.mode = check_mode(mode)
        self.value: float | None = None
        self.time: int | None = None
        self.weights: dict[str, Any] | None = None

    def see(self, value: float, time: int, model: nn.Module | dict[str, Any]) -> None:
        """Keep the weights if this value is the best so far; ``model`` may be a state dict."""
        if self.value is None:
            better = value == value
        else:
            better = value < self.value if self.mode == "min" else value > self.value
        if better:
            self.value, self.time = value, time
            self.weights = model if isinstance(model, dict) else weights(model)

    def restore(self, model: nn.Module) -> None:
        """Load the best weights into the model, if there are any."""
        if self.weights is not None:
            with torch.no_grad():
                model.load_state_dict(self.weights)


def check_mode(mode: Mode) -> Mode:
    """Return ``mode`` if it is ``"min"`` or ``"max"``; otherwise raise ``ValueError``."""
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")
    return mode

"""Select the part of a model's output to average."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dropkit._moments import Task

__all__ = ["Wanted", "check_output"]


@dataclass(frozen=True)
class Wanted:
    """The part of the output to average: the arguments ``output`` and ``task`` of ``predict``."""

    output: str | Callable[[Any], Tensor] | None
    task: Task | None

    def of(self, model: nn.Module, example: Any) -> nn.Module:
        """Return a module that runs a model and returns the tensor to average.

        ``example`` is an output of the model. Warn if logits would be averaged without an explicit
        ``task``.
        """
        found, output = self.choose(example)
        if output is None:
            return model
        several = found.dim() > 1 and found.shape[1] > 1
        if self.task is None and output == "logits" and several:
            warnings.warn(
                "the logits are averaged; for class probabilities, entropy and mutual "
                "information pass task='classification', and to average logits without this "
                "warning task='regression'",
                stacklevel=5,
            )
        return _Chosen(model, output)

    def choose(self, example: Any) -> tuple[Tensor, str | Callable[[Any], Tensor] | None]:
        """Return the tensor to average, and its name or selector (None if it is the whole output).

        Raises:
            TypeError: the result is not a floating tensor.
        """
        if self.output is None and isinstance(example, Tensor):
            return check_output(example), None
        output = self.output
        if output is None:
            if _entry(example, "logits") is None:
                check_output(example)
            output = "logits"
        return check_output(_choose(example, output)), output


class _Chosen(nn.Module):
    """A model that returns a selected part of another model's output."""

    def __init__(self, model: nn.Module, output: str | Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.training = False
        self.model = model
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model and select the part."""
        return _choose(self.model(*args, **kwargs), self.output)


def check_output(output: Any) -> Tensor:
    """Return the output if it can be averaged; otherwise raise ``TypeError``."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        got = output.dtype if isinstance(output, Tensor) else type(output).__name__
        raise TypeError(
            f"the model must return a floating tensor, got {got}; select the part to average "
            "with output='name' or a function: output=lambda returned: returned[0]"
        )
    return output


def _choose(returned: Any, output: str | Callable[[Any], Tensor]) -> Any:
    if callable(output):
        return output(returned)
    if isinstance(returned, Mapping):
        return returned[output]
    return getattr(returned, output)


def _entry(returned: Any, name: str) -> Any:
    return returned.get(name) if isinstance(returned, Mapping) else getattr(returned, name, None)

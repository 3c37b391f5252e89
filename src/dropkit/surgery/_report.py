"""Report what an operation changed in a model, and undo it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from dropkit._copying import copy_model


@dataclass(frozen=True)
class Report:
    """What an operation changed in a model, and what it left unchanged.

    Attributes:
        changed: the names of the changed modules and rates, with dots.
        left: the names of matching modules and rates that did not change, each with the reason.
    """

    changed: tuple[str, ...]
    left: tuple[str, ...] = ()
    _back: Callable[[nn.Module], nn.Module] | None = field(default=None, repr=False, compare=False)

    def undo(self, model: nn.Module, *, copy: bool = True) -> nn.Module:
        """Undo the operation: restore layers, rates and ``state_dict`` keys, and return the model.

        Changed modules are found by name, so you may train, move, pickle or copy the model before
        you undo; these other changes are kept. Undo several operations in reverse order.

        Args:
            model: the model that the operation returned, or a copy.
            copy: whether to change a deep copy; otherwise ``model`` itself changes.

        Raises:
            ValueError: if the model lacks a module that the operation changed.

        >>> from dropkit.surgery import insert
        >>> net, report = insert(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), nn.Dropout(0.5))
        >>> report.undo(net)
        Sequential(
          (0): ReLU()
          (1): Linear(in_features=2, out_features=2, bias=True)
        )
        """
        model = copy_model(model) if copy else model
        if self._back is None:
            return model
        try:
            return self._back(model)
        except (AttributeError, KeyError) as error:
            raise ValueError(
                f"model must be what the operation returned, but {type(model).__name__} lacks a "
                f"module that was changed ({error}); undo several operations in reverse order"
            ) from error


def lines(reasons: dict[str, str]) -> tuple[str, ...]:
    """Return a line ``name: reason`` for each entry."""
    return tuple(f"{name or 'the model'}: {reason}" for name, reason in reasons.items())

"""What an operation did to a model, and the way back."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from dropkit._copying import copy_model


@dataclass(frozen=True)
class Report:
    """What an operation did to a model.

    Attributes:
        changed: the places it changed, as dotted names.
        left: the places that qualified and were left alone, each with the reason.
    """

    changed: tuple[str, ...]
    left: tuple[str, ...] = ()
    _back: Callable[[nn.Module], nn.Module] | None = field(default=None, repr=False, compare=False)

    def undo(self, model: nn.Module, *, copy: bool = True) -> nn.Module:
        """Return the model as it was before the operation: layers, rates, ``state_dict`` keys.

        Places are found by name, so the model may have been trained, moved, pickled or copied
        since; what else was done to it stays. Several operations are undone last one first.

        Args:
            model: what the operation returned, or a copy of it.
            copy: whether to change a deep copy; otherwise ``model`` itself changes.

        Raises:
            ValueError: if the model has not the places that the operation changed.

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
                f"place that it changed ({error}); undo several operations last one first"
            ) from error


def lines(reasons: dict[str, str]) -> tuple[str, ...]:
    """Write a name and its reason on each line."""
    return tuple(f"{name or 'the model'}: {reason}" for name, reason in reasons.items())

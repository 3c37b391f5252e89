"""What one training does: methods describe it, `dropkit.study.training.train` carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.study.methods.objective import Make, Sampled


@dataclass(frozen=True)
class Recipe:
    """The plain training that every method starts from, and the places where it may differ.

    A method is a function from one recipe to another; the model itself is not in it, so that
    every method begins with the same weights.

    Args:
        lr: the highest learning rate.
        momentum: of stochastic gradient descent; ``None`` for an optimizer without one to set.
        warm_up: whether momentum rises to that value from 0.5 over the budget's first tenth, as
            final − (final − 0.5)·exp(−10·t/steps), the paper's form of it.
        optimizer: name and arguments, as `parse_optimizer` reads them.
        lr_schedule: a name of `dropkit.study.optimizers.SCHEDULES`.
        weight_decay: coefficient λ of the gradient λ·w, on weights and never on biases or norms.
        keep_own: whether the network's own dropout stays as it is.
        hidden: makers of the layers put after each hidden activation.
        inputs: makers of the layers put before the model.
        wrappers: types of modules, and what makes the module that stands in the place of each of
            these, and holds it.
        anneal: share of the budget in which the rates of all layers fall linearly to 0; 0: they
            stay.
        groups: sub-networks in a mini-batch, of which the kept units alone are computed; 0: a
            mask for every row.
        loss: what is minimized in the place of cross-entropy or the squared error, by name.
        balanced: whether rows are weighted so that every class counts alike.
        objective: makes what is minimized; see `dropkit.study.methods.objective`.
        solve: finds the model from rows, targets and the task at once, in the network's place.
        penalties: added to the training loss, functions of the model and the number of training
            rows.
        max_norm: the largest norm of a unit's incoming weights; ``None`` for no limit.
        patience: epochs without a lower validation loss after which the training stops; ``None``
            for the whole budget.
        restore_best: score the weights of the epoch with the lowest validation loss, whatever
            the study's rule for the others is: that is part of early stopping itself.
        one_array: whether it works on one array of inputs alone, and not on several or sequences.
        members: how many nets are trained separately and averaged.
    """

    lr: float
    momentum: float | None = 0.9
    warm_up: bool = False
    optimizer: tuple[str, Mapping[str, Any]] = ("sgd", {})
    lr_schedule: str = "linear"
    weight_decay: float = 0.0
    keep_own: bool = False
    hidden: tuple[Callable[[], nn.Module], ...] = ()
    inputs: tuple[Callable[[], nn.Module], ...] = ()
    wrappers: tuple[tuple[tuple[type[nn.Module], ...], Callable[[Any], nn.Module]], ...] = ()
    anneal: float = 0.0
    groups: int = 0
    loss: str | None = None
    balanced: bool = False
    objective: Make = Sampled
    solve: Callable[[Tensor, Tensor, str], nn.Module] | None = None
    penalties: tuple[Callable[[nn.Module, int], Tensor], ...] = ()
    max_norm: float | None = None
    patience: int | None = None
    restore_best: bool = False
    one_array: bool = False
    members: int = 1

    def minimizing(self, objective: Make) -> Recipe:
        """Minimize something else than the loss of a pass."""
        if self.objective is not Sampled:
            raise StudyError("two methods that change the loss cannot be applied together")
        return replace(self, objective=objective)


def weights(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that weight penalties act on: all but biases and norms, each once."""
    return [parameter for parameter in model.parameters() if parameter.ndim > 1]

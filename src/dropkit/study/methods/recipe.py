"""Define the recipe of one run: methods change it, and the training loop follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.study.methods.objective import Make, Sampled


@dataclass(frozen=True)
class Recipe:
    """How one run trains: the baseline's training, and every part that a method may change.

    A method is a function from one recipe to another. The recipe does not contain the model, so
    that every method begins with the same weights.

    Args:
        lr: the highest learning rate.
        momentum: the momentum of SGD; ``None`` for other optimizers.
        warm_up: whether momentum rises from 0.5 to ``momentum`` in about the first tenth of the
            updates, by the paper's formula momentum − (momentum − 0.5)·exp(−10·t/steps) at update t
            of ``steps``.
        optimizer: name and arguments, as `parse_optimizer` returns them.
        lr_schedule: a name of `dropkit.study.optimizers.SCHEDULES`.
        weight_decay: coefficient λ of the gradient λ·w of weights w; biases and normalization
            layers have none.
        keep_own: whether the network keeps its own dropout.
        hidden: functions that create the layers to put after each hidden activation.
        inputs: functions that create the layers to put before the model.
        wrappers: pairs of module types and a function that wraps each module of these types.
        anneal: share of the updates in which the rates of all layers decrease linearly to 0; 0
            keeps the rates constant.
        groups: number of groups of rows in a mini-batch that share a mask, so that only kept units
            are computed; 0 draws a mask for every row.
        loss: name of the loss to minimize instead of cross-entropy or the squared error.
        balanced: whether rows are weighted so that every class has the same total weight.
        objective: creates the objective to minimize; see `dropkit.study.methods.objective`.
        solve: computes a model from rows, targets and the task in closed form, instead of training.
        penalties: functions of the model and the number of training rows; their values are added to
            the training loss.
        max_norm: the largest norm of a unit's incoming weights; ``None`` for no limit.
        patience: epochs without a lower validation loss after which the training stops; ``None``
            for the whole budget.
        restore_best: whether to score the weights of the epoch with the lowest validation loss, as
            early stopping does, even if the study scores final weights.
        one_array: whether the method needs a single array of inputs, not several inputs or
            sequences.
        members: number of networks that are trained separately and averaged.
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
        """Replace the objective; raise `StudyError` if another method replaced it already."""
        if self.objective is not Sampled:
            raise StudyError("two methods that change the loss cannot be applied together")
        return replace(self, objective=objective)


def weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters with weight penalties: all except biases and normalization layers."""
    return [parameter for parameter in model.parameters() if parameter.ndim > 1]

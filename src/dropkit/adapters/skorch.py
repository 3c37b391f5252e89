"""Callbacks for skorch: max-norm, schedules of rate and momentum, best weights.

Pass the callbacks to the net::

    NeuralNetClassifier(module, callbacks=[MaxNorm(3.0), RateSchedule(linear(0.0, 0.5, 1000))])

The callbacks act on ``net.module_``. As usual in skorch, attributes that end with an underscore are
set during training.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal, Self

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.utils.hooks import RemovableHandle

from dropkit._best import Best, check_mode
from dropkit._checks import check_positive
from dropkit._step_hooks import optimizers_of, remove
from dropkit.adapters._steps import (
    momentum_setter,
    project_after_steps,
    rate_setter,
)
from dropkit.schedule import Schedule
from dropkit.surgery._select import Selection, selected
from dropkit.text import nearest

__all__ = ["MaxNorm", "MomentumSchedule", "RateSchedule", "RestoreBest"]


class _StepHook(Callback):  # type: ignore[misc]
    """Base class of callbacks that register hooks on the optimizer's step during training."""

    def __init__(self) -> None:
        self.hooks_: list[RemovableHandle] = []

    def on_train_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        self.on_train_end(net)  # remove hooks of a training that ended with an error
        self.hooks_ = self._hook(net)

    def on_train_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        remove(self.hooks_)

    @abstractmethod
    def _hook(self, net: NeuralNet) -> list[RemovableHandle]:
        """Register hooks on the steps of the net's optimizers."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "hooks_": []}  # a copy has no hooks


class MaxNorm(_StepHook):
    """Project the incoming weights of every unit onto the ball of radius c after each step.

    Args:
        c: the largest norm of a unit's incoming weight vector, above 0.
        layers: selects the modules of ``net.module_`` to constrain: one type or several, a pattern
            of dotted names, or a function of (name, module); all if None.

    Raises:
        ValueError: if c is not above 0; when training starts, if ``layers`` selects none; after
            the first step, if there is no weight to project.

    The projection is part of the optimizer's step. So the callback does not project while gradients
    accumulate, or in a step that loss scaling skips. Weights are averaged after the projection.
    With several optimizers, every optimizer's step includes the projection. See
    `dropkit.constrain.max_norm_`.

    >>> MaxNorm(3.0, layers="encoder.*").c
    3.0
    """

    def __init__(self, c: float, layers: Selection | None = None) -> None:
        check_positive(c, "c")
        self.c = c  # unchanged, as scikit-learn's clone requires
        self.layers = layers
        super().__init__()

    def _hook(self, net: NeuralNet) -> list[RemovableHandle]:
        if self.layers is None:
            return project_after_steps(optimizers_of(net), net.module_, self.c)
        chosen = selected(net.module_, self.layers).values()
        if not chosen:
            raise ValueError(
                f"layers must select a module of {type(net.module_).__name__}, but "
                f"{self.layers!r} selects none; see module.named_modules() for the names"
            )
        return project_after_steps(optimizers_of(net), nn.ModuleList(chosen), self.c)


class _StepSchedule(_StepHook):
    """Base class of callbacks that set a scheduled value before every step of the optimizer.

    ``fit`` starts at step 0, ``partial_fit`` continues. With several optimizers, count the steps of
    the first one.
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self.steps_ = 0
        self.set_step_: Callable[[float], None] | None = None
        super().__init__()

    def initialize(self) -> Self:
        self.steps_ = 0
        return self

    @abstractmethod
    def _setter(self, net: NeuralNet) -> Callable[[float], None]:
        """Return a function that sets the scheduled value for a step."""

    def _hook(self, net: NeuralNet) -> list[RemovableHandle]:
        self.set_step_ = self._setter(net)
        return [optimizers_of(net)[0].register_step_post_hook(self._count)]

    def on_batch_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        if kwargs["training"] and self.set_step_ is not None:
            self.set_step_(self.steps_)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "set_step_": None}  # functions cannot be pickled

    def _count(self, *args: Any) -> None:
        self.steps_ += 1


class RateSchedule(_StepSchedule):
    """Set dropout rates before every step.

    Args:
        schedule: a schedule such as ``linear(0.0, 0.5, steps=1000)`` for all dropkit layers with a
            settable rate, counted in steps of the optimizer; or a mapping from names or name
            patterns to schedules, ``{"encoder.*": late(0.5, 1000), "head": ...}``, with the names
            of `dropkit.surgery.rates` for ``net.module_``. If several patterns match, the last one
            wins.

    Raises:
        ValueError: when training starts, if the model has no such layer, or a name matches no rate.

    ``fit`` starts at step 0; ``partial_fit`` continues. After training the layers keep the rate of
    the last step. A single schedule does not change ``nn.Dropout``; ``{"*": schedule}`` sets every
    rate.

    >>> from dropkit.schedule import late
    >>> RateSchedule(late(0.5, start=1000)).schedule
    late(p=0.5, start=1000)
    """

    def __init__(self, schedule: Schedule | Mapping[str, Schedule]) -> None:
        super().__init__(schedule)

    def _setter(self, net: NeuralNet) -> Callable[[float], None]:
        return rate_setter(net.module_, self.schedule)


class MomentumSchedule(_StepSchedule):
    """Set the momentum of every optimizer before every step.

    Args:
        schedule: a momentum for every step, such as ``momentum_ramp(0.5, 0.99, tau=1000)``; a
            step is a step of the optimizer.

    Raises:
        ValueError: when training starts, if an optimizer has neither ``momentum`` nor ``betas``.

    ``fit`` starts at step 0; ``partial_fit`` continues. For optimizers of the Adam family, the
    callback sets the first of the two betas.

    >>> from dropkit.schedule import momentum_ramp
    >>> MomentumSchedule(momentum_ramp(0.5, 0.99, tau=1000)).schedule
    momentum_ramp(initial=0.5, final=0.99, tau=1000.0)
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)

    def _setter(self, net: NeuralNet) -> Callable[[float], None]:
        set_momentum = momentum_setter(optimizers_of(net))
        return lambda step: set_momentum(self.schedule(step))


class RestoreBest(Callback):  # type: ignore[misc]
    """Keep the weights of the best epoch in memory, and restore them after training.

    Args:
        monitor: the entry of ``net.history`` to watch.
        mode: ``"min"`` if a smaller value is better, ``"max"`` if a larger one is.

    Raises:
        ValueError: if the mode is neither ``"min"`` nor ``"max"``; after the first epoch, if the
            history has no entry ``monitor``.

    Attributes:
        best_: the best value so far, None before the first epoch ends.
        epoch_: the epoch of the best value, counted from 1 as in the history, or None.

    If values are equal, the first one wins. NaN is never the best; if every value is NaN, the last
    weights stay. ``fit`` starts again; ``partial_fit`` continues with the previous best value. The
    copy is on the same device as the weights.

    >>> RestoreBest("valid_acc", mode="max").best_ is None
    True
    """

    def __init__(self, monitor: str = "valid_loss", mode: Literal["min", "max"] = "min") -> None:
        self.monitor = monitor
        self.mode = check_mode(mode)
        self.kept_ = Best(mode)

    @property
    def best_(self) -> float | None:
        """The best value so far."""
        return self.kept_.value

    @property
    def epoch_(self) -> int | None:
        """The epoch of the best value, counted from 1."""
        return self.kept_.time

    def initialize(self) -> Self:
        self.kept_ = Best(self.mode)
        return self

    def on_epoch_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        epoch = net.history[-1]
        if self.monitor not in epoch:
            raise ValueError(
                f"{self.monitor!r} must be in the history; {nearest(self.monitor, epoch)}. "
                "Without train_split there is no valid_loss"
            )
        self.kept_.see(float(epoch[self.monitor]), epoch["epoch"], net.module_)

    def on_train_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        self.kept_.restore(net.module_)

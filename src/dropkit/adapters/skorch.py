"""Callbacks for skorch: max-norm, schedules of rate and momentum, best weights.

Pass them to the net::

    NeuralNetClassifier(module, callbacks=[MaxNorm(3.0), RateSchedule(linear(0.0, 0.5, 1000))])

They act on ``net.module_``. As usual in skorch, attributes that end with an underscore exist after
training has begun.
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
    """Base of the callbacks that hook into the optimizer's step while a training lasts."""

    def __init__(self) -> None:
        self.hooks_: list[RemovableHandle] = []

    def on_train_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        self.on_train_end(net)  # hooks of a training that an error ended
        self.hooks_ = self._hook(net)

    def on_train_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        remove(self.hooks_)

    @abstractmethod
    def _hook(self, net: NeuralNet) -> list[RemovableHandle]:
        """Hook into the steps of this net's optimizers."""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "hooks_": []}  # they belong to this optimizer, not to a copy


class MaxNorm(_StepHook):
    """Project the incoming weights of every unit onto the ball of radius c after each step.

    Args:
        c: the largest norm of a unit's incoming weight vector, above 0.
        layers: the modules of ``net.module_`` to constrain, as surgery selects them: a type or
            several, a pattern of names, or a function of (name, module). All if None.

    Raises:
        ValueError: if c is not above 0; when training starts, if ``layers`` selects none; after
            the first step, if there is no weight to project.

    The projection is a part of the optimizer's step: with gradient accumulation it happens once
    for each real step, not in one that loss scaling skips, and before averages of the weights
    are taken. With several optimizers it is a part of the steps of each. See
    `dropkit.constrain.max_norm_`.

    >>> MaxNorm(3.0, layers="encoder.*").c
    3.0
    """

    def __init__(self, c: float, layers: Selection | None = None) -> None:
        check_positive(c, "c")
        self.c = c  # the very object: scikit-learn's clone insists on it
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
    """Base of the callbacks that set something before every step of the optimizer.

    ``fit`` starts at step 0, ``partial_fit`` continues. With several optimizers the steps of the
    first one count.
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
        """A function of the step that sets what is scheduled."""

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
    """Set the rates of dropout before every step.

    Args:
        schedule: a rate for every step, such as ``linear(0.0, 0.5, steps=1000)``, for all of
            dropkit's layers with a rate to set; a step is a step of the optimizer. Or one for each
            name or pattern of names, ``{"encoder.*": late(0.5, 1000), "head": ...}``, as
            `dropkit.surgery.rates` lists them for ``net.module_``; if several match, the last one
            wins.

    Raises:
        ValueError: when training starts, if there is no such layer, or a name fits no rate.

    ``fit`` starts at step 0, ``partial_fit`` continues. After training the layers keep the rate of
    the last step. One schedule for all leaves ``nn.Dropout`` alone: ``{"*": schedule}`` sets every
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

    ``fit`` starts at step 0, ``partial_fit`` continues. For the optimizers of the Adam family it
    sets the first of the two betas.

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
        ValueError: if the mode is neither; after the first epoch, if the history has no such
            entry.

    Attributes:
        best_: the best value so far, None before the first.
        epoch_: the epoch it belongs to, counted from 1 as in the history; None before the first.

    Of equal values the first wins, and NaN is never the best; where every value is NaN, the last
    weights stay. ``fit`` starts anew; ``partial_fit`` knows the best of before. The copy lies on
    the weights' own device.

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
        """The epoch it belongs to, counted from 1."""
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

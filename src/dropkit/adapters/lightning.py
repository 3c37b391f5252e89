"""Callbacks for Lightning: max-norm, schedules of rate and momentum, best weights.

Install with ``pip install dropkit[adapters]`` and pass the callbacks to the ``Trainer``::

    Trainer(callbacks=[MaxNorm(3.0), RateSchedule(linear(0.0, 0.5, steps=1000)), RestoreBest()])
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, callbacks
from torch import nn
from torch.utils.hooks import RemovableHandle

from dropkit._best import Best, weights
from dropkit._checks import check_positive
from dropkit._step_hooks import remove
from dropkit.adapters._steps import (
    check_one_way,
    momentum_setter,
    project_after_steps,
    rate_setter,
)
from dropkit.schedule import Schedule
from dropkit.text import nearest

__all__ = ["MaxNorm", "MomentumSchedule", "RateSchedule", "RestoreBest"]

_AVERAGES: Any = getattr(callbacks, "WeightAveraging", ())  # missing in older versions


class MaxNorm(Callback):
    """Project the incoming weights of every unit onto the ball of radius c after each step.

    Args:
        c: the largest norm of a unit's incoming weight vector, above 0.
        layers: the modules to constrain; the whole model if None.

    Raises:
        ValueError: if c is not above 0; after the first step, if there is no weight to project.

    The projection is part of the optimizer's step. So the callback does not project while gradients
    accumulate, or in a step that loss scaling skips. If another callback averages weights (EMA,
    SWA), it averages the projected weights. With several optimizers, every optimizer's step
    includes the projection. See `dropkit.constrain.max_norm_`.

    >>> MaxNorm(3.0).c
    3.0
    """

    def __init__(self, c: float, layers: Iterable[nn.Module] | None = None) -> None:
        self.c = check_positive(c, "c")
        self.layers = None if layers is None else nn.ModuleList(layers)
        self._hooks: list[RemovableHandle] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        remove(self._hooks)
        target = pl_module if self.layers is None else self.layers
        self._hooks = project_after_steps(trainer.optimizers, target, self.c)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        remove(self._hooks)

    def on_exception(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        remove(self._hooks)


class RateSchedule(Callback):
    """Set dropout rates before every step.

    Args:
        schedule: a schedule such as ``linear(0.0, 0.5, steps=1000)``, counted in optimizer steps
            (``trainer.global_step``); or a mapping from names or name patterns to schedules,
            ``{"encoder.*": late(0.5, 1000), "head.*": ...}``. `dropkit.surgery.rates` of the
            Lightning module lists the names. If several patterns match, the last one wins.
        layers: the layers that a single schedule sets; None means all dropkit layers with a
            settable rate.

    Raises:
        TypeError: if ``schedule`` is a mapping and ``layers`` is given, too.
        ValueError: when training starts, if the model has no such layer, or a name matches no rate.

    After training the layers keep the rate of the last step. A single schedule does not change
    ``nn.Dropout``, because compiled models recompile for each new rate of ``nn.Dropout``.
    `dropkit.surgery.replace` converts ``nn.Dropout`` to a dropkit layer, for which compiled models
    do not recompile.

    >>> from dropkit.schedule import late
    >>> RateSchedule(late(0.5, start=1000)).schedule
    late(p=0.5, start=1000)
    """

    def __init__(
        self,
        schedule: Schedule | Mapping[str, Schedule],
        layers: Iterable[nn.Module] | None = None,
    ) -> None:
        check_one_way(schedule, layers)
        self.schedule = schedule
        self.layers = None if layers is None else tuple(layers)
        self._set_step: Callable[[float], None]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_step = rate_setter(pl_module, self.schedule, self.layers)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self._set_step(trainer.global_step)


class MomentumSchedule(Callback):
    """Set the momentum of every optimizer before every step.

    Args:
        schedule: a momentum for every step, such as ``momentum_ramp(0.5, 0.99, tau=1000)``.

    Raises:
        ValueError: when training starts, if an optimizer has neither ``momentum`` nor ``betas``.

    For optimizers of the Adam family, the callback sets the first of the two betas.

    >>> from dropkit.schedule import momentum_ramp
    >>> MomentumSchedule(momentum_ramp(0.5, 0.99, tau=1000)).schedule
    momentum_ramp(initial=0.5, final=0.99, tau=1000.0)
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._set_momentum: Callable[[float], None]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._set_momentum = momentum_setter(trainer.optimizers)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        self._set_momentum(self.schedule(trainer.global_step))


class RestoreBest(Callback):
    """Keep the weights with the best validation score in memory, and restore them after training.

    Args:
        monitor: the logged value to watch.
        mode: ``"min"`` if a smaller value is better, ``"max"`` if a larger one is.

    Raises:
        ValueError: if the mode is neither ``"min"`` nor ``"max"``; when training starts, if there
            is no validation; at the first validation, if the value is not logged.

    Attributes:
        best: the best value so far, None before the first validation.
        epoch: the epoch of the best value, counted from 0, or None.

    If values are equal, the first one wins. NaN is never the best; if every value is NaN, the last
    weights stay. The copy is on the same device as the weights. Checkpoints include the copy, so a
    resumed training continues with this copy. With several processes the value is averaged over the
    processes. With Lightning's ``WeightAveraging``, the callback keeps the averaged weights,
    because these were validated.

    >>> RestoreBest("val_acc", mode="max").best is None
    True
    """

    def __init__(self, monitor: str = "val_loss", mode: Literal["min", "max"] = "min") -> None:
        self.monitor = monitor
        self._kept = Best(mode)
        self._validated: dict[str, Any] | None = None

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a smaller value is better or a larger one."""
        return self._kept.mode

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._kept.value

    @property
    def epoch(self) -> int | None:
        """The epoch of the best value, counted from 0."""
        return self._kept.time

    @property
    def state_key(self) -> str:
        """The key of the callback's state in a checkpoint; it contains the monitored value."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":  # start again for every fit; a checkpoint is loaded after this
            self._kept = Best(self.mode)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.enable_validation:
            raise ValueError(
                "RestoreBest needs validation, but none will run; define validation_step and "
                "pass a validation loader to fit"
            )

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        others: Any = trainer
        averages = any(isinstance(each, _AVERAGES) for each in others.callbacks)
        if averages and _counts(trainer) and batch_idx == dataloader_idx == 0:
            self._validated = weights(pl_module)  # WeightAveraging swaps weights after validation

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _counts(trainer):
            return
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"{self.monitor!r} must be logged during validation; "
                f"{nearest(self.monitor, trainer.callback_metrics)}"
            )
        seen = torch.as_tensor(trainer.callback_metrics[self.monitor], device=pl_module.device)
        value = float(trainer.strategy.reduce(seen.clone(), reduce_op="mean"))  # reduce is in place
        self._kept.see(value, trainer.current_epoch, self._validated or pl_module)
        self._validated = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._kept.restore(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a checkpoint stores."""
        kept = self._kept
        return {"best": kept.value, "epoch": kept.time, "weights": kept.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the state from a checkpoint."""
        kept = self._kept
        kept.value, kept.time = state_dict["best"], state_dict["epoch"]
        kept.weights = state_dict["weights"]


def _counts(trainer: Trainer) -> bool:
    """Whether this is a validation during ``fit``, not a sanity check or ``trainer.validate``."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking

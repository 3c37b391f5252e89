"""Callbacks for Hugging Face's ``Trainer``: max-norm, schedules, best weights.

Pass them to the ``Trainer``::

    Trainer(model, args, callbacks=[MaxNorm(3.0), RateSchedule(linear(0.0, 0.5, steps=1000))])

They act on the ``Trainer``'s model, which must be complete on every device, as with one device or
replicas, and not sharded as with FSDP or DeepSpeed's ZeRO.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dropkit._best import Best
from dropkit._checks import check_positive
from dropkit._step_hooks import remove, unwrap_optimizer
from dropkit.adapters._steps import (
    check_one_way,
    momentum_setter,
    project_after_steps,
    rate_setter,
)
from dropkit.schedule import Schedule
from dropkit.text import nearest

__all__ = ["MaxNorm", "MomentumSchedule", "RateSchedule", "RestoreBest"]


class MaxNorm(TrainerCallback):
    """Project the incoming weights of every unit onto the ball of radius c after each step.

    Args:
        c: the largest norm of a unit's incoming weight vector, above 0.
        layers: the modules to constrain; the whole model if None, embeddings included.

    Raises:
        ValueError: if c is not above 0; after the first step, if there is no weight to project.

    The projection is a part of the optimizer's step: with gradient accumulation it happens once
    for each real step, not in one that loss scaling skips, and before averages of the weights
    are taken. See `dropkit.constrain.max_norm_`.

    >>> MaxNorm(3.0).c
    3.0
    """

    def __init__(self, c: float, layers: Iterable[nn.Module] | None = None) -> None:
        self.c = check_positive(c, "c")
        self.layers = None if layers is None else nn.ModuleList(layers)
        self._hooks: list[RemovableHandle] = []

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        remove(self._hooks)
        target = kwargs["model"] if self.layers is None else self.layers
        self._hooks = project_after_steps([kwargs["optimizer"]], target, self.c)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        remove(self._hooks)


class RateSchedule(TrainerCallback):
    """Set the rates of dropout before every step.

    Args:
        schedule: a rate for every step, such as ``linear(0.0, 0.5, steps=1000)``; a step is an
            optimizer step, as counted by ``state.global_step``. Or one for each name or pattern of
            names, ``{"bert.encoder.*": late(0.1, 1000), "dropout": ...}``, as
            `dropkit.surgery.rates` lists them; if several match, the last one wins.
        layers: the layers to set by one schedule; all of dropkit's with a rate to set if None.

    Raises:
        TypeError: if both names and ``layers`` are given.
        ValueError: when training starts, if there is no such layer, or a name fits no rate.

    After training the layers keep the rate of the last step. One schedule for all leaves
    ``nn.Dropout`` alone: ``{"*": schedule}`` sets every rate, those of models as they come
    included. Compiled models are compiled again at every new rate of ``nn.Dropout``, but not of
    the layers that `dropkit.surgery.replace` turns it into.

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

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._set_step = rate_setter(kwargs["model"], self.schedule, self.layers)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._set_step(state.global_step)


class MomentumSchedule(TrainerCallback):
    """Set the momentum of the optimizer before every step.

    Args:
        schedule: a momentum for every step, such as ``momentum_ramp(0.5, 0.99, tau=1000)``.

    Raises:
        ValueError: when training starts, if the optimizer has neither ``momentum`` nor ``betas``.

    For the optimizers of the Adam family it sets the first of the two betas.

    >>> from dropkit.schedule import momentum_ramp
    >>> MomentumSchedule(momentum_ramp(0.5, 0.99, tau=1000)).schedule
    momentum_ramp(initial=0.5, final=0.99, tau=1000.0)
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._set_momentum: Callable[[float], None]

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._set_momentum = momentum_setter([unwrap_optimizer(kwargs["optimizer"])])

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._set_momentum(self.schedule(state.global_step))


class RestoreBest(TrainerCallback):
    """Keep the weights with the best evaluation score in memory, and restore them after training.

    Args:
        monitor: the name of the metric to watch, as the evaluation logs it, with ``eval_``.
        mode: ``"min"`` if a smaller value is better, ``"max"`` if a larger one is.

    Raises:
        ValueError: if the mode is neither; when training starts, if nothing will be evaluated;
            at the step after the first evaluation, if it had no such metric.

    Attributes:
        best: the best value so far, None before the first.
        step: the number of optimizer steps after which it was found; None before the first.

    Of equal values the first wins, and NaN is never the best; where every value is NaN, the last
    weights stay. Every call of ``train`` starts anew. The copy lies on the weights' own device
    and is not written to checkpoints, so that a resumed training knows the best since it was
    resumed; ``load_best_model_at_end`` of ``TrainingArguments`` goes by files and knows them all.

    >>> RestoreBest("eval_accuracy", mode="max").best is None
    True
    """

    def __init__(self, monitor: str = "eval_loss", mode: Literal["min", "max"] = "min") -> None:
        self.monitor = monitor
        self._best = Best(mode)
        self._seen: set[str] = set()
        self._training = False

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether a smaller value is better or a larger one."""
        return self._best.mode

    @property
    def best(self) -> float | None:
        """The best value so far."""
        return self._best.value

    @property
    def step(self) -> int | None:
        """The number of optimizer steps after which it was found."""
        return self._best.time

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if args.eval_strategy == "no":
            raise ValueError(
                "RestoreBest needs evaluations, but none will run; set eval_strategy to 'epoch' "
                "or 'steps' in TrainingArguments and pass an eval_dataset to the Trainer"
            )
        self._best, self._seen, self._training = Best(self.mode), set(), True

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        metrics = kwargs["metrics"]
        self._seen.update(metrics)
        if self._training and self.monitor in metrics:
            self._best.see(float(metrics[self.monitor]), state.global_step, kwargs["model"])

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        # Not at the evaluation itself: with several sets of data each is evaluated apart.
        self._check_seen()

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self._training = False
        self._check_seen()
        self._best.restore(kwargs["model"])

    def _check_seen(self) -> None:
        if self._seen and self.monitor not in self._seen:
            raise ValueError(
                f"{self.monitor!r} must be a metric of the evaluation; "
                f"{nearest(self.monitor, self._seen)}"
            )

"""Callbacks for Hugging Face's ``Trainer``: max-norm, schedules, best weights.

Pass the callbacks to the ``Trainer``::

    Trainer(model, args, callbacks=[MaxNorm(3.0), RateSchedule(linear(0.0, 0.5, steps=1000))])

The callbacks act on the ``Trainer``'s model. Every device must hold the whole model: a single
device or replicas work, but sharding with FSDP or DeepSpeed's ZeRO does not.
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

    The projection is part of the optimizer's step. So the callback does not project while gradients
    accumulate, or in a step that loss scaling skips. If another callback averages weights (EMA,
    SWA), it averages the projected weights. See `dropkit.constrain.max_norm_`.

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
    """Set dropout rates before every step.

    Args:
        schedule: a schedule such as ``linear(0.0, 0.5, steps=1000)``, counted in optimizer steps
            (``state.global_step``); or a mapping from names or name patterns to schedules,
            ``{"bert.encoder.*": late(0.1, 1000), "dropout": ...}``, with the names of
            `dropkit.surgery.rates`. If several patterns match, the last one wins.
        layers: the layers that a single schedule sets; None means all dropkit layers with a
            settable rate.

    Raises:
        TypeError: if ``schedule`` is a mapping and ``layers`` is given, too.
        ValueError: when training starts, if the model has no such layer, or a name matches no rate.

    After training the layers keep the rate of the last step. A single schedule does not change
    ``nn.Dropout``; ``{"*": schedule}`` sets every rate, including those of pretrained models.
    Compiled models recompile for each new rate of ``nn.Dropout``. `dropkit.surgery.replace`
    converts ``nn.Dropout`` to a dropkit layer, for which compiled models do not recompile.

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

    For optimizers of the Adam family, the callback sets the first of the two betas.

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
        monitor: the name of the metric to watch, with the prefix ``eval_`` of the logs.
        mode: ``"min"`` if a smaller value is better, ``"max"`` if a larger one is.

    Raises:
        ValueError: if the mode is neither ``"min"`` nor ``"max"``; when training starts, if there
            is no evaluation; at the step after the first evaluation, if the evaluation has no such
            metric.

    Attributes:
        best: the best value so far, None before the first evaluation.
        step: the number of optimizer steps before the best evaluation, or None.

    If values are equal, the first one wins. NaN is never the best; if every value is NaN, the last
    weights stay. Every call of ``train`` starts again. The copy is on the same device as the
    weights. Checkpoints do not include the copy, so a resumed training only considers evaluations
    after the resumption. ``load_best_model_at_end`` of ``TrainingArguments`` uses checkpoint files
    and considers all evaluations.

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
        """The number of optimizer steps before the best evaluation."""
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
        # Check here, not in on_evaluate, which is called once per evaluation set.
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

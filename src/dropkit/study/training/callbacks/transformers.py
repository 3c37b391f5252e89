"""Apply a study's method in a training by Hugging Face's ``Trainer``."""

import math
from functools import partial
from typing import Any

from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from dropkit._step_hooks import call_after_steps, remove
from dropkit.study.training.callbacks.driven import Driven, add_penalty_gradient, count_rows


class TrainingRunCallback(TrainerCallback):
    """Apply a study's method in a ``Trainer``; see `TrainingRun.transformers_callbacks`.

    The callback begins the run's epochs, adds the method's penalty and constraint to every step,
    and logs every evaluation. The callback ends the training when the run is stopped, and
    restores the best weights if the method stops early.
    """

    def __init__(self, run: Driven, *, val_loss: str, val_metric: str) -> None:
        self.run, self.val_loss, self.val_metric = run, val_loss, val_metric
        self._hooks: list[RemovableHandle] = []
        self._training = False
        self._rows: int | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        remove(self._hooks)
        act = partial(self.run.after_step, kwargs["model"])
        self._hooks = call_after_steps([kwargs["optimizer"]], act)
        self._rows = count_rows(getattr(kwargs["train_dataloader"], "dataset", None))
        self._training = True

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.run.begin_epoch(math.ceil(state.num_train_epochs))

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        add_penalty_gradient(self.run, kwargs["model"], self._rows)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        control.should_training_stop = control.should_training_stop or self.run.stopped

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        if not self._training:
            return
        found = kwargs["metrics"]
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        self.run.log(
            train_loss=losses[-1] if losses else None,
            val_loss=found.get(self.val_loss),
            val_metric=found.get(self.val_metric),
        )
        control.should_training_stop = control.should_training_stop or self.run.stopped

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        remove(self._hooks)
        self._training = False
        self.run.end()

"""Apply a study's method in a skorch training."""

from __future__ import annotations

from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback
from torch.utils.hooks import RemovableHandle

from dropkit._step_hooks import call_after_steps, optimizers_of, remove
from dropkit.study.training.callbacks.driven import Driven, add_penalty_gradient, count_rows


class TrainingRunCallback(Callback):  # type: ignore[misc]
    """Apply a study's method in a skorch training; see `TrainingRun.skorch_callbacks`.

    The callback begins the run's epochs, adds the method's penalty and constraint to every step,
    and logs every epoch. The callback ends the training when the run is stopped, and restores the
    best weights if the method stops early.
    """

    def __init__(self, run: Driven, *, val_loss: str, val_metric: str) -> None:
        self.run, self.val_loss, self.val_metric = run, val_loss, val_metric
        self.rows_: int | None = None
        self.hooks_: list[RemovableHandle] = []

    def on_train_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        remove(self.hooks_)  # left by a training that ended with an error
        self.hooks_ = call_after_steps(optimizers_of(net), lambda: self.run.after_step(net.module_))

    def on_epoch_begin(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        self.rows_ = count_rows(kwargs["dataset_train"])
        self.run.begin_epoch(net.max_epochs)

    def on_grad_computed(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        add_penalty_gradient(self.run, net.module_, self.rows_)

    def on_epoch_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        epoch = net.history[-1]
        self.run.log(
            train_loss=epoch.get("train_loss"),
            val_loss=epoch.get(self.val_loss),
            val_metric=epoch.get(self.val_metric),
        )
        if self.run.stopped:
            raise KeyboardInterrupt  # the way in which skorch's own callbacks end a training

    def on_train_end(self, net: NeuralNet, *args: Any, **kwargs: Any) -> None:
        remove(self.hooks_)
        self.run.end()

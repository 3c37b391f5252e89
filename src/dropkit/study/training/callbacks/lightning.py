"""Apply a study's method in a Lightning training."""

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.hooks import RemovableHandle

from dropkit._step_hooks import call_after_steps, remove
from dropkit.study.training.callbacks.driven import Driven, add_penalty_gradient, count_rows


class TrainingRunCallback(Callback):
    """Apply a study's method in a Lightning training; see `TrainingRun.lightning_callbacks`.

    The callback begins the run's epochs, adds the method's penalty and constraint to every step,
    and logs the losses at the end of every epoch. The callback ends the training when the run is
    stopped, and restores the best weights if the method stops early.
    """

    def __init__(self, run: Driven, *, val_loss: str, val_metric: str, train_loss: str) -> None:
        self.run = run
        self.val_loss, self.val_metric, self.train_loss = val_loss, val_metric, train_loss
        self._hooks: list[RemovableHandle] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        remove(self._hooks)
        act = partial(self.run.after_step, pl_module)
        self._hooks = call_after_steps(trainer.optimizers, act)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.run.begin_epoch(trainer.max_epochs or 1)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.run.see_batch(batch)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        rows = count_rows(getattr(trainer.train_dataloader, "dataset", None))
        add_penalty_gradient(self.run, pl_module, rows)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = trainer.callback_metrics
        self.run.log(
            train_loss=found.get(self.train_loss),
            val_loss=found.get(self.val_loss),
            val_metric=found.get(self.val_metric),
        )
        trainer.should_stop = trainer.should_stop or self.run.stopped

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        remove(self._hooks)
        self.run.end()

    def on_exception(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        remove(self._hooks)

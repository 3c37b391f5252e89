"""Apply a study's method in a Lightning training."""

from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.hooks import RemovableHandle

from dropkit.adapters._steps import add_penalty_gradient, call_after_steps, remove
from dropkit.study import Trial


class TrialCallback(Callback):
    """Apply a study's method in a Lightning training; see `dropkit.study.compare_training`.

    Args:
        run: the argument of your training function.
        val_loss: the logged value for early stopping and tuning.
        val_metric: the logged value of the metric of the `Outcome`, if there is one.
        train_loss: the logged value of the training loss.

    The callback begins the trial's epochs, adds the method's penalty and constraint to every step,
    and logs the losses at the end of every epoch. It stops the training if the method does, and
    restores the best weights at the end. Insert the method's layers with ``run.regularize``.

    >>> TrialCallback(Trial(), val_loss="loss/val").val_loss
    'loss/val'
    """

    def __init__(
        self,
        run: Trial,
        *,
        val_loss: str = "val_loss",
        val_metric: str = "",
        train_loss: str = "train_loss",
    ) -> None:
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
        loader: Any = trainer.train_dataloader
        add_penalty_gradient(self.run, pl_module, len(loader.dataset))

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

"""A Lightning module on handwritten digits.

python examples/lightning_module.py                        # train once
dropkit compare examples/lightning_module.py:train         # compare dropout rates
"""

import logging

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from dropkit import study

EPOCHS = 15

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Digits(pl.LightningModule):
    def __init__(self, run: study.TrainingRun) -> None:
        super().__init__()
        self.run = run
        self.net = run.regularize(
            nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(),
                          nn.Linear(256, 10))
        )  # fmt: skip

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        outputs = self.net(batch[0])
        self.log("val_loss", F.cross_entropy(outputs, batch[1]))
        self.log("val_error", (outputs.argmax(1) != batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = self.run.parameter_groups(self.net, weight_decay=0.01)
        return torch.optim.AdamW(groups, lr=2e-3)


def train(run: study.TrainingRun) -> study.Outcome:
    pl.seed_everything(run.seed, verbose=False)
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)
    train_set, val_set = random_split(TensorDataset(x[:797], y[:797]), [300, 497])
    model = Digits(run)
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=run.lightning_callbacks(val_metric="val_error"),
    )
    trainer.fit(model, DataLoader(train_set, 32, shuffle=True), DataLoader(val_set, 497))
    return study.Outcome(model.eval().net(x[797:]), y[797:])


if __name__ == "__main__":
    print(f"test error: {study.run_once(train).score().scores.value:.1%}")

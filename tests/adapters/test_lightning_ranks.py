"""Trainings that are saved on one number of processes and resumed on another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn

lightning = pytest.importorskip("lightning.pytorch")

from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

from dropkit.adapters.lightning import (  # noqa: E402
    MaxNorm,
    MomentumSchedule,
    RateSchedule,
    RestoreBest,
)
from dropkit.noise import Dropout  # noqa: E402
from dropkit.schedule import linear, momentum_ramp  # noqa: E402
from dropkit.study.processes import count_cores  # noqa: E402
from dropkit.study.training.devices import call_on_devices  # noqa: E402
from dropkit.study.training.ranks import Rank  # noqa: E402

pytestmark = [
    pytest.mark.soak,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:FutureWarning"),
    pytest.mark.skipif(
        not distributed.is_available() or count_cores() < 2 or torch.cuda.is_available(),
        reason="needs torch.distributed and two processor cores",
    ),
]

VAL_LOSSES = [3.0, 1.0, 2.0, 4.0]  # the best is of the epoch after which it is saved


class Net(lightning.LightningModule):
    """A net without noise, beside whose layers one is scheduled, and what each step saw."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
        self.aside = Dropout(0.5)
        self.seen: list[tuple[float, ...]] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        group = self.trainer.optimizers[0].param_groups[0]
        weights = torch.cat([p.detach().flatten() for p in self.body.parameters()])
        settings = self.trainer.global_step, self.aside.p, group["momentum"], group["lr"]
        self.seen.append((*settings, *weights.tolist()))
        x, y = batch
        return nn.functional.cross_entropy(self.body(x), y)

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", VAL_LOSSES[self.current_epoch])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5, momentum=0.5)
        decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 16)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


class Rows:
    """Four batches of eight rows, of which every process takes its share."""

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Any:
        there = distributed.is_initialized()
        rank, ranks = (distributed.get_rank(), distributed.get_world_size()) if there else (0, 1)
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            x = torch.randn(8, 4, generator=generator, dtype=torch.float64) * 3
            yield x[rank::ranks], (x[:, 0] > 0).long()[rank::ranks]


def fit(devices: int, epochs: int, folder: Path, resume: Path | None = None) -> dict[str, Any]:
    net, best = Net(), RestoreBest()
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        max_epochs=epochs,
        callbacks=[
            MaxNorm(0.8),
            RateSchedule(linear(0.5, 0.1, steps=13)),
            MomentumSchedule(momentum_ramp(0.5, 0.99, tau=5)),
            best,
            ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1),
        ],
        logger=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, Rows(), Rows(), ckpt_path=resume)
    norm = net.body[0].weight.norm(dim=1).max().item()
    weights = [p.detach().clone() for p in net.body.parameters()]
    return {"seen": net.seen, "best": (best.best, best.epoch), "weights": weights, "norm": norm}


def on_two(rank: Rank, folder: Path) -> dict[str, Any]:
    """Save here what one process resumes, and resume here what one process saved."""
    fit(2, 2, folder / "of two")
    resumed = fit(2, 4, folder / "ended on two", folder / "of one" / "epoch=1.ckpt")
    gathered = rank.gather(resumed["seen"])
    assert all(seen == gathered[0] for seen in gathered), "the ranks do not agree"
    return resumed


def test_a_checkpoint_resumes_on_another_number_of_processes(tmp_path: Path) -> None:
    undisturbed = fit(1, 4, tmp_path / "of one")
    assert len(undisturbed["seen"]) == 16
    assert undisturbed["best"] == (1.0, 1)
    assert 0.79 < undisturbed["norm"] <= 0.8, "the bound was never met"
    on_more = call_on_devices(2, on_two, tmp_path)
    on_fewer = fit(1, 4, tmp_path / "ended on one", tmp_path / "of two" / "epoch=1.ckpt")
    for resumed in (on_more, on_fewer):
        # The order of additions differs: float64's rounding, sixteen steps long.
        wanted = torch.tensor(undisturbed["seen"][8:], dtype=torch.float64)
        torch.testing.assert_close(
            torch.tensor(resumed["seen"], dtype=torch.float64), wanted, rtol=1e-11, atol=1e-13
        )
        rates = [linear(0.5, 0.1, steps=13)(step) for step in range(8, 16)]
        assert [rate for _, rate, *_ in resumed["seen"]] == rates
        assert resumed["best"] == (1.0, 1)
        for mine, theirs in zip(resumed["weights"], undisturbed["weights"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-13)


class Apart(Net):
    """Every process logs a loss of its own: on the first the first epoch is the best."""

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", [[1.0, 5.0], [2.0, 0.5]][self.current_epoch][self.global_rank])


def restored(rank: Rank) -> list[Any]:
    net, best = Apart(), RestoreBest()
    lightning.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=2,
        callbacks=[best],
        logger=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(net, Rows(), Rows())
    return rank.gather((best.epoch, best.best, net.body[0].weight.tolist()))


def test_all_processes_restore_the_same_epoch() -> None:
    first, second = call_on_devices(2, restored)
    assert first == second
    assert first[:2] == (1, 1.25)

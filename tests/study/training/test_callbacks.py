"""A study's methods inside trainings that Lightning, Hugging Face and skorch run."""

import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dropkit.study import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:FutureWarning")

LR = 0.1


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 4, generator=generator)
    return x, (x[:, 0] > 0).long()


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


class Watched(nn.Module):
    """A net that keeps the rows of every training batch."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.seen = body, []

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.seen.append(x.flatten().tolist())
        return self.body(x)


def by_lightning(run: TrainingRun, epochs: int, batch: int) -> Watched:
    lightning = pytest.importorskip("lightning.pytorch")

    class Net(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = Watched(run.regularize(net()))

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            return cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: list[Tensor], index: int) -> None:
            self.log("val_loss", cross_entropy(self.net(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=LR)

    x, y = rows()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=run.lightning_callbacks(),
    )
    data, flipped = (torch.utils.data.TensorDataset(x, each) for each in (y, 1 - y))
    loader = torch.utils.data.DataLoader(data, batch, shuffle=True)
    model = Net()
    trainer.fit(model, loader, torch.utils.data.DataLoader(flipped, 32))
    return model.net


def by_transformers(run: TrainingRun, epochs: int, batch: int) -> Watched:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Watched(run.regularize(net()))

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": cross_entropy(logits, labels), "logits": logits}

    x, y = rows()
    data, flipped = (
        [{"x": row, "labels": label} for row, label in zip(x, each, strict=True)]
        for each in (y, 1 - y)
    )
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    arguments = transformers.TrainingArguments(
        output_dir=os.path.join(os.environ["PYTEST_TRIAL"], "out"),
        num_train_epochs=epochs,
        per_device_train_batch_size=batch,
        per_device_eval_batch_size=32,
        learning_rate=LR,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=run.seed,
    )
    model = Net()
    transformers.Trainer(
        model,
        arguments,
        train_dataset=data,
        eval_dataset=flipped,
        optimizers=(torch.optim.SGD(model.parameters(), lr=LR), None),
        callbacks=run.transformers_callbacks(),
    ).train()
    return model.net


def by_skorch(run: TrainingRun, epochs: int, batch: int) -> Watched:
    skorch = pytest.importorskip("skorch")
    from skorch.helper import predefined_split

    x, y = rows()
    flipped = skorch.dataset.Dataset(x.numpy(), (1 - y).numpy())
    fitted = skorch.NeuralNetClassifier(
        Watched(run.regularize(net())),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=LR,
        max_epochs=epochs,
        batch_size=batch,
        iterator_train__shuffle=True,
        train_split=predefined_split(flipped),
        callbacks=run.skorch_callbacks(),
        verbose=0,
    ).fit(x.numpy(), y.numpy())
    return fitted.module_


TRAINERS: dict[str, Callable[[TrainingRun, int, int], Watched]] = {
    "lightning": by_lightning,
    "transformers": by_transformers,
    "skorch": by_skorch,
}


@pytest.fixture(params=TRAINERS)
def fit(
    request: pytest.FixtureRequest, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TrainingRun, int, int], Watched]:
    monkeypatch.setenv("PYTEST_TRIAL", str(tmp_path))
    return TRAINERS[request.param]


Fit = Callable[[TrainingRun, int, int], Watched]


def test_steps_are_counted_losses_logged_and_weights_constrained(fit: Fit) -> None:
    run = TrainingRun(method="as-is+max-norm(c=0.2)")
    model = fit(run, 2, 8)
    assert run.seen.steps == 8
    assert [entry.step for entry in run.seen.log] == [4, 8]
    assert all(entry.val_loss is not None for entry in run.seen.log)
    norms = torch.cat([w.norm(dim=1) for w in model.parameters() if w.ndim > 1])
    assert norms.max() <= 0.2
    assert run.seen.start


def test_a_penalty_is_part_of_every_step(fit: Fit) -> None:
    plain, with_l1 = (
        fit(TrainingRun(method=method), 1, 32).body[0].weight.detach()  # type: ignore[index]
        for method in ("as-is", "as-is+l1(coefficient=0.01)")
    )
    first = net()[0].weight.detach()  # type: ignore[index]
    assert torch.allclose(plain - with_l1, LR * 0.01 * first.sign(), atol=1e-6)


def test_early_stopping_ends_the_training_and_restores_the_best_weights(fit: Fit) -> None:
    run = TrainingRun(method="as-is+early-stopping(patience=2)")
    model = fit(run, 9, 32)
    losses = [entry.val_loss for entry in run.seen.log]
    assert losses == sorted(losses)  # the validation rows have the other labels
    assert (len(losses), run.selected) == (3, 1)
    once = fit(TrainingRun(), 1, 32)
    assert torch.equal(model.body[0].weight, once.body[0].weight)  # type: ignore[index]


def test_a_trial_that_falls_behind_ends(fit: Fit) -> None:
    run = TrainingRun()
    run.limits = (9.0, 0.0, 0.0)
    fit(run, 4, 32)
    assert (len(run.seen.log), run.pruned) == (2, True)


def test_a_short_run_takes_one_epoch(fit: Fit) -> None:
    run = TrainingRun()
    run.budget = 1
    assert len(fit(run, 3, 8).seen) == 4


def test_every_method_of_a_seed_sees_the_same_batches(fit: Fit) -> None:
    first, second = (fit(TrainingRun(method=method), 2, 8).seen for method in ("as-is", "dropout"))
    assert first == second
    assert first[:4] != first[4:]
    assert fit(TrainingRun(1), 2, 8).seen != first

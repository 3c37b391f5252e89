"""The callbacks in real, small trainings."""

import math

import pytest
import torch
from torch import nn

lightning = pytest.importorskip("lightning.pytorch")

from dropkit.adapters.lightning import (  # noqa: E402
    MaxNorm,
    MomentumSchedule,
    RateSchedule,
    RestoreBest,
)
from dropkit.noise import ConcreteDropout, Dropout, GaussianDropout  # noqa: E402
from dropkit.schedule import constant, linear, momentum_ramp  # noqa: E402
from dropkit.thinned import LazyOptimizer, thin  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:FutureWarning")


class Net(lightning.LightningModule):
    """A small net on fixed data, that records what every training batch saw."""

    def __init__(self, optimizer=torch.optim.SGD, val_losses=(), lr=0.5, **options):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            Dropout(0.5), nn.Linear(4, 8), nn.ReLU(), GaussianDropout(0.5), nn.Linear(8, 2)
        )
        self.make = lambda parameters: optimizer(parameters, lr=lr, **options)
        self.val_losses = list(val_losses)
        self.seen = []

    def training_step(self, batch, index):
        x, y = batch
        groups = self.trainer.optimizers[0].param_groups
        momentum = groups[0].get("momentum", groups[0].get("betas"))
        body = getattr(self.body, "_orig_mod", self.body)
        self.seen.append((body[0].p, body[3].p, momentum, largest_norm(self)))
        return nn.functional.cross_entropy(self.body(x), y)

    def validation_step(self, batch, index):
        if index == 0 and not self.trainer.sanity_checking:
            value = self.val_losses[self.current_epoch]
            self.log("val_loss", value)
            self.log("val_acc", -value)

    def configure_optimizers(self):
        return self.make(self.parameters())


def largest_norm(model):
    with torch.no_grad():
        layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
        return max(float(layer.weight.norm(dim=1).max()) for layer in layers)


def batches():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 4, generator=generator) * 5
    y = torch.randint(2, (32,), generator=generator)
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8)


def trainer(*callbacks, epochs=2, **options):
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"enable_checkpointing": False, **options},
    )


@pytest.mark.parametrize(
    "options", [{}, {"accumulate_grad_batches": 2}, {"precision": "bf16-mixed"}]
)
def test_max_norm_holds_after_every_step(options):
    free, held = Net(), Net()
    trainer(**options).fit(free, batches())
    trainer(MaxNorm(0.4), **options).fit(held, batches())
    assert largest_norm(free) > 0.5
    first = options.get("accumulate_grad_batches", 1)
    assert all(norm > 0.4 for *_, norm in held.seen[:first]), "the first weights are no update's"
    assert all(norm <= 0.4 for *_, norm in held.seen[first:])
    assert largest_norm(held) <= 0.4


def test_max_norm_holds_with_lazy_updates():
    """The last to write into the weights is ``LazyOptimizer``, after the optimizer inside it."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 400), nn.ReLU(), Dropout(0.5), nn.Linear(400, 2))
    net = Net()
    net.body, _ = thin(body)
    net.training_step = lambda batch, batch_idx: nn.functional.cross_entropy(
        net.body(batch[0]), batch[1]
    )
    net.make = lambda parameters: LazyOptimizer(torch.optim.SGD(parameters, lr=1.0), net.body)
    x = torch.randn(200, 4) * 5
    rows = torch.utils.data.TensorDataset(x, (x[:, 0] > 0).long())
    trainer(MaxNorm(0.1)).fit(net, torch.utils.data.DataLoader(rows, batch_size=200))
    assert largest_norm(net) <= 0.1 * (1 + 1e-6)


def test_max_norm_of_chosen_layers():
    net = Net()
    trainer(MaxNorm(0.4, [net.body[1]])).fit(net, batches())
    assert largest_norm(net.body[1:2]) <= 0.4 < largest_norm(net.body[4:])


@pytest.mark.parametrize("c", [0, -1, math.nan])
def test_max_norm_refuses_a_radius_that_is_none(c):
    with pytest.raises(ValueError, match="c must be"):
        MaxNorm(c)


def test_rate_schedule_is_set_before_every_step():
    net = Net()
    schedule = linear(0.0, 0.7, steps=6)
    trainer(RateSchedule(schedule)).fit(net, batches())
    expected = [schedule(step) for step in range(8)]
    assert [first for first, *_ in net.seen] == expected
    assert [second for _, second, *_ in net.seen] == expected


def test_rate_schedule_counts_optimizer_steps():
    net = Net()
    schedule = linear(0.0, 0.7, steps=6)
    trainer(RateSchedule(schedule), accumulate_grad_batches=2).fit(net, batches())
    assert [p for p, *_ in net.seen] == [schedule(batch // 2) for batch in range(8)]


def test_rate_schedule_of_chosen_layers():
    net = Net()
    trainer(RateSchedule(linear(0.0, 0.1, 1), [net.body[0]]), epochs=1).fit(net, batches())
    assert [seen[:2] for seen in net.seen] == [(0.0, 0.5)] + 3 * [(0.1, 0.5)]


def test_rate_schedule_must_find_a_layer():
    net = Net()
    net.body = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"a dropkit layer.*surgery\.replace, or pass {'\*': s"):
        trainer(RateSchedule(linear(0.0, 0.5, 3))).fit(net, batches())
    with pytest.raises(TypeError, match=r"schedule must be a function .* got 0\.3"):
        trainer(RateSchedule(0.3)).fit(net, batches())


def test_rate_schedules_by_name():
    net = Net()
    falling = linear(0.4, 0.0, steps=6)
    trainer(RateSchedule({"body.*": constant(0.1), "body.3": falling})).fit(net, batches())
    assert [seen[:2] for seen in net.seen] == [(0.1, falling(step)) for step in range(8)]
    with pytest.raises(ValueError, match=r"'boddy\.0' must fit a rate.*did you mean 'body\.0'"):
        trainer(RateSchedule({"boddy.0": falling})).fit(Net(), batches())
    with pytest.raises(TypeError, match="layers must be None"):
        RateSchedule({"body.0": falling}, [net.body[0]])


def test_rate_schedules_of_a_compiled_model_compile_once():
    class Compiled(Net):
        def __init__(self):
            super().__init__()
            self.body = torch.compile(self.body, backend="aot_eager", fullgraph=True)

        def on_train_batch_end(self, *args):
            compilations.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])

    compilations = []
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    net = Compiled()
    schedules = {"*.0": linear(0.0, 0.7, steps=6), "*.3": linear(0.9, 0.2, steps=6)}
    trainer(RateSchedule(schedules)).fit(net, batches())
    assert [seen[:2] for seen in net.seen] == [
        (schedules["*.0"](step), schedules["*.3"](step)) for step in range(8)
    ]
    assert compilations == [1] * 8


def test_momentum_schedule_is_set_before_every_step():
    schedule = momentum_ramp(0.5, 0.9, tau=3)
    net = Net(momentum=0.1)
    trainer(MomentumSchedule(schedule)).fit(net, batches())
    assert [seen[2] for seen in net.seen] == [schedule(step) for step in range(8)]
    net = Net(torch.optim.Adam, lr=1e-3)
    trainer(MomentumSchedule(schedule), epochs=1).fit(net, batches())
    assert [seen[2] for seen in net.seen] == [(schedule(step), 0.999) for step in range(4)]


def test_momentum_from_nothing_in_rmsprop():
    """Which makes its buffers at the first step, if there is momentum then."""
    net = Net(torch.optim.RMSprop, lr=1e-3)
    schedule = momentum_ramp(0.0, 0.9, tau=3)
    trainer(MomentumSchedule(schedule)).fit(net, batches())
    assert [seen[2] for seen in net.seen] == [schedule(step) for step in range(8)]
    assert schedule(0) == 0
    states = net.trainer.optimizers[0].state.values()
    assert all(state["momentum_buffer"].abs().sum() > 0 for state in states)


def test_momentum_schedule_must_find_a_momentum():
    with pytest.raises(ValueError, match="Adagrad has none"):
        trainer(MomentumSchedule(momentum_ramp(0.5, 0.9, 3))).fit(
            Net(torch.optim.Adagrad), batches()
        )


class Snapshots(lightning.Callback):
    """The weights at the end of every epoch."""

    def __init__(self):
        self.weights = []

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.weights.append({k: v.clone() for k, v in pl_module.state_dict().items()})


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([1.0, 1.0, 1.0], 0),
        ([math.nan, 2.0, 1.5], 2),
        ([2.0, math.nan, 3.0], 0),
        ([math.nan, math.inf, math.nan], 1),
    ],
)
@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("val_acc", "max")])
def test_restores_the_best_weights(losses, best, monitor, mode):
    net, snapshots, restore = Net(val_losses=losses), Snapshots(), RestoreBest(monitor, mode)
    trainer(snapshots, restore, epochs=3).fit(net, batches(), batches())
    assert len(snapshots.weights) == 3
    assert restore.epoch == best
    assert restore.best == (losses[best] if mode == "min" else -losses[best])
    assert [same(net.state_dict(), weights) for weights in snapshots.weights] == [
        epoch == best for epoch in range(3)
    ]


def test_restores_nothing_if_every_value_is_nan():
    net, snapshots, restore = Net(val_losses=[math.nan] * 2), Snapshots(), RestoreBest()
    trainer(snapshots, restore).fit(net, batches(), batches())
    assert restore.best is None
    assert same(net.state_dict(), snapshots.weights[-1])


def test_last_checkpoint_holds_the_last_weights_and_a_resumed_training_the_best(tmp_path):
    losses = [1.0, 2.0, 3.0, 4.0]
    keep = lightning.callbacks.ModelCheckpoint(tmp_path, save_last=True, save_top_k=0)
    snapshots = Snapshots()
    trainer(snapshots, RestoreBest(), keep, enable_checkpointing=True).fit(
        Net(val_losses=losses), batches(), batches()
    )
    last = tmp_path / "last.ckpt"
    assert same(torch.load(last, weights_only=True)["state_dict"], snapshots.weights[1])
    net, restore = Net(val_losses=losses), RestoreBest()
    trainer(restore, epochs=4).fit(net, batches(), batches(), ckpt_path=last, weights_only=True)
    assert (restore.epoch, restore.best) == (0, 1.0)
    assert same(net.state_dict(), snapshots.weights[0])


def test_restore_best_says_what_is_missing():
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'lowest'"):
        RestoreBest(mode="lowest")
    with pytest.raises(ValueError, match="needs validation"):
        trainer(RestoreBest()).fit(Net(), batches())
    with pytest.raises(ValueError, match=r"'val_los' must be logged.*did you mean 'val_loss'"):
        trainer(RestoreBest("val_los")).fit(Net(val_losses=[1.0, 1.0]), batches(), batches())


def test_restore_best_begins_anew_with_every_fit():
    restore = RestoreBest()
    trainer(restore).fit(Net(val_losses=[0.1, 0.2]), batches(), batches())
    assert restore.best == pytest.approx(0.1)
    trainer(restore).fit(Net(val_losses=[0.5, 0.4]), batches(), batches())
    assert (restore.best, restore.epoch) == (pytest.approx(0.4), 1)


def test_rates_that_are_learned_are_not_scheduled():
    net = Net()
    net.body.append(ConcreteDropout(nn.Linear(2, 2)))
    trainer(RateSchedule(linear(0.5, 0.1, steps=4))).fit(net, batches())
    assert [row[0] for row in net.seen[:4]] == pytest.approx([0.5, 0.4, 0.3, 0.2])
    only = Net()
    only.body = ConcreteDropout(nn.Linear(4, 2))
    with pytest.raises(ValueError, match="must find a dropkit layer with a rate"):
        trainer(RateSchedule(constant(0.5))).fit(only, batches())


class Rising(lightning.LightningModule):
    """One weight, that each step makes larger and whose validation loss is lowest at 6."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.body.weight)

    def training_step(self, batch, index):
        return -self.body.weight.sum()

    def validation_step(self, batch, index):
        self.log("val_loss", (self.body.weight.sum() - 6).abs())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


@pytest.mark.parametrize("first", [True, False])
def test_of_averaged_weights_those_are_restored_that_were_validated(first):
    averages = pytest.importorskip("lightning.pytorch.callbacks").EMAWeightAveraging(decay=0.5)
    net, best = Rising(), RestoreBest()
    callbacks = (best, averages) if first else (averages, best)
    trainer(*callbacks, epochs=4, num_sanity_val_steps=0).fit(net, batches(), batches())
    assert abs(net.body.weight.item() - 6) == pytest.approx(best.best)
    assert best.epoch == 1

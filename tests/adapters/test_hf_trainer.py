"""The callbacks in real, small trainings by Hugging Face's Trainer."""

import math
import os

import pytest
import torch
from torch import nn

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from dropkit.adapters.transformers import (  # noqa: E402
    MaxNorm,
    MomentumSchedule,
    RateSchedule,
    RestoreBest,
)
from dropkit.noise import Dropout, GaussianDropout  # noqa: E402
from dropkit.param_groups import decay_groups  # noqa: E402
from dropkit.schedule import constant, linear, momentum_ramp  # noqa: E402
from dropkit.surgery import rates  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


class Net(nn.Module):
    """A small net that records what every training batch saw."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            Dropout(0.5), nn.Linear(4, 8), nn.ReLU(), GaussianDropout(0.5), nn.Linear(8, 2)
        )
        self.seen = []

    def forward(self, x, labels=None):
        if self.training:
            self.seen.append((self.body[0].p, self.body[3].p, largest_norm(self)))
        logits = self.body(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


class Watch(transformers.TrainerCallback):
    """The optimizer's momentum in every step, and the weights at every evaluation."""

    def __init__(self):
        self.momentum, self.weights = [], []

    def on_pre_optimizer_step(self, args, state, control, optimizer, **kwargs):
        group = optimizer.param_groups[0]
        self.momentum.append(group.get("momentum", group.get("betas")))

    def on_evaluate(self, args, state, control, model, **kwargs):
        self.weights.append({name: v.clone() for name, v in model.state_dict().items()})


def largest_norm(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return max(layer.weight.detach().norm(dim=1).max().item() for layer in layers)


def rows():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(32, 4, generator=generator) * 5
    y = torch.randint(2, (32,), generator=generator)
    return [{"x": row, "labels": label} for row, label in zip(x, y, strict=True)]


def trainer(folder, net, *callbacks, optimizer=None, epochs=2, metrics=None, data=None, **options):
    if optimizer is None:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    arguments = transformers.TrainingArguments(
        output_dir=os.fspath(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        **{"save_strategy": "no", "logging_strategy": "no", "max_grad_norm": 0.0, **options},
    )
    return transformers.Trainer(
        net,
        arguments,
        train_dataset=rows(),
        eval_dataset=rows() if data is None else data,
        callbacks=list(callbacks),
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)),
        compute_metrics=metrics,
    )


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2}, {"bf16": True}])
def test_max_norm_holds_after_every_step(tmp_path, options):
    free, held = Net(), Net()
    trainer(tmp_path, free, **options).train()
    trainer(tmp_path, held, MaxNorm(0.4), **options).train()
    assert largest_norm(free) > 0.5
    first = options.get("gradient_accumulation_steps", 1)
    assert all(norm > 0.4 for *_, norm in held.seen[:first]), "only a step projects"
    assert all(norm <= 0.4 for *_, norm in held.seen[first:])
    assert largest_norm(held) <= 0.4


def test_max_norm_of_chosen_layers_ends_with_the_training(tmp_path):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    run = trainer(tmp_path, net, MaxNorm(0.4, [net.body[1]]), optimizer=optimizer)
    run.train()
    assert largest_norm(net.body[1:2]) <= 0.4 < largest_norm(net.body[4:])
    with torch.no_grad():
        net.body[1].weight.fill_(1.0)
    optimizer.step()
    assert largest_norm(net.body[1:2]) > 0.4


@pytest.mark.parametrize("c", [0, -1, math.nan])
def test_max_norm_refuses_a_radius_that_is_none(c):
    with pytest.raises(ValueError, match="c must be"):
        MaxNorm(c)


@pytest.mark.parametrize("batches_per_step", [1, 2])
def test_rate_schedule_is_set_before_every_step(tmp_path, batches_per_step):
    net, schedule = Net(), linear(0.0, 0.7, steps=6)
    trainer(
        tmp_path, net, RateSchedule(schedule), gradient_accumulation_steps=batches_per_step
    ).train()
    expected = [schedule(batch // batches_per_step) for batch in range(8)]
    assert [first for first, *_ in net.seen] == expected
    assert [second for _, second, _ in net.seen] == expected


def test_rate_schedule_of_chosen_layers(tmp_path):
    net = Net()
    chosen = RateSchedule(linear(0.0, 0.1, 1), [net.body[0]])
    trainer(tmp_path, net, chosen, epochs=1).train()
    assert [seen[:2] for seen in net.seen] == [(0.0, 0.5)] + 3 * [(0.1, 0.5)]


def test_rate_schedules_by_name(tmp_path):
    net, falling = Net(), linear(0.4, 0.0, steps=6)
    trainer(tmp_path, net, RateSchedule({"body.*": constant(0.1), "body.3": falling})).train()
    assert [seen[:2] for seen in net.seen] == [(0.1, falling(step)) for step in range(8)]
    with pytest.raises(ValueError, match=r"'boddy\.0' must fit a rate.*did you mean 'body\.0'"):
        trainer(tmp_path, Net(), RateSchedule({"boddy.0": falling})).train()
    with pytest.raises(TypeError, match="layers must be None"):
        RateSchedule({"body.0": falling}, [net.body[0]])


def test_rate_schedule_must_find_a_layer(tmp_path):
    net = Net()
    net.body = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    with pytest.raises(ValueError, match=r"must find a dropkit layer.*surgery\.replace"):
        trainer(tmp_path, net, RateSchedule(linear(0.0, 0.5, 3))).train()


def test_a_resumed_training_goes_on_with_the_schedule(tmp_path):
    schedule = linear(0.0, 0.7, steps=6)
    saved = {"save_strategy": "epoch"}
    trainer(tmp_path, Net(), RateSchedule(schedule), epochs=1, **saved).train()
    net = Net()
    trainer(tmp_path, net, RateSchedule(schedule), **saved).train(resume_from_checkpoint=True)
    assert [p for p, *_ in net.seen] == [schedule(step) for step in range(4, 8)]


def test_momentum_schedule_is_set_before_every_step(tmp_path):
    schedule = momentum_ramp(0.5, 0.9, tau=3)
    for make, expected in (
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.1), schedule),
        (lambda p: torch.optim.AdamW(p, lr=1e-3), lambda step: (schedule(step), 0.999)),
    ):
        net, watch = Net(), Watch()
        trainer(
            tmp_path, net, MomentumSchedule(schedule), watch, optimizer=make(net.parameters())
        ).train()
        assert watch.momentum == [expected(step) for step in range(8)]


def test_momentum_schedule_must_find_a_momentum(tmp_path):
    net = Net()
    adagrad = torch.optim.Adagrad(net.parameters())
    schedule = MomentumSchedule(momentum_ramp(0.5, 0.9, 3))
    with pytest.raises(ValueError, match="Adagrad has none"):
        trainer(tmp_path, net, schedule, optimizer=adagrad).train()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([3.0, 1.0, 2.0], 1),
        ([1.0, 1.0, 1.0], 0),
        ([math.nan, 2.0, 1.5], 2),
        ([math.nan, math.inf, math.nan], 1),
    ],
)
@pytest.mark.parametrize("mode", ["min", "max"])
def test_restores_the_best_weights(tmp_path, values, best, mode):
    net, watch = Net(), Watch()
    restore = RestoreBest("eval_score", mode)
    sign = 1 if mode == "min" else -1
    coming = iter([sign * value for value in values] + [sign * -100.0])
    run = trainer(
        tmp_path,
        net,
        watch,
        restore,
        epochs=3,
        eval_strategy="epoch",
        metrics=lambda prediction: {"score": next(coming)},
    )
    run.train()
    assert (restore.best, restore.step) == (sign * values[best], 4 * (best + 1))
    assert [same(net.state_dict(), weights) for weights in watch.weights] == [
        epoch == best for epoch in range(3)
    ]
    run.evaluate()
    assert restore.step == 4 * (best + 1), "an evaluation after training changed it"


def test_restores_nothing_if_every_value_is_nan(tmp_path):
    net, watch, restore = Net(), Watch(), RestoreBest("eval_score")
    nan = lambda prediction: {"score": math.nan}  # noqa: E731
    trainer(tmp_path, net, watch, restore, eval_strategy="epoch", metrics=nan).train()
    assert restore.best is None
    assert same(net.state_dict(), watch.weights[-1])


def test_watches_one_of_several_sets_of_data(tmp_path):
    restore = RestoreBest("eval_b_loss")
    data = {"a": rows(), "b": rows()}
    trainer(tmp_path, Net(), restore, eval_strategy="epoch", data=data).train()
    assert restore.best is not None


def test_restore_best_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'lowest'"):
        RestoreBest(mode="lowest")
    with pytest.raises(ValueError, match="needs evaluations"):
        trainer(tmp_path, Net(), RestoreBest()).train()
    for epochs in (1, 2):
        restore = RestoreBest("eval_los")
        run = trainer(tmp_path, Net(), restore, epochs=epochs, eval_strategy="epoch")
        with pytest.raises(ValueError, match=r"'eval_los' must be.*did you mean 'eval_loss'"):
            run.train()
        assert run.state.global_step == 4


def test_all_of_them_on_bert(tmp_path):
    """A language model whose last layer has the embedding's weights, its rates in many places."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    model = transformers.BertForMaskedLM(config)
    tokens = torch.randint(30, (32, 6))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    optimizer = torch.optim.AdamW(decay_groups(model, 0.1), lr=0.01)
    c, schedule, restore = 0.3, linear(0.0, 0.4, steps=8), RestoreBest()
    callbacks = [MaxNorm(c), RateSchedule({"*": schedule}), restore]
    run = trainer(
        tmp_path, model, *callbacks, optimizer=optimizer, data=data, eval_strategy="epoch"
    )
    run.train_dataset = data
    run.train()
    assert list(rates(model).values()) == pytest.approx([schedule(7)] * 7, abs=2**-16)
    norms = [m.weight.detach().norm(dim=1).max() for m in model.modules() if type(m) is nn.Linear]
    assert max(norms) <= c
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert run.evaluate()["eval_loss"] == pytest.approx(restore.best, rel=1e-6)

"""Optimizers and schedules by name: the same arithmetic as torch's own parts."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

from dropkit.study import Study, StudyError
from dropkit.study.optimizers import SCHEDULES, parse_optimizer
from dropkit.study.training.updates import make_optimizer, make_schedule, plain_recipe

STEPS = 20


@pytest.mark.parametrize("written", ["sgd", "SGD", " sgd(dampening=0.0)", "SGD(momentum=0.9)"])
def test_sgd_has_one_learning_rate_however_it_is_written(written: str) -> None:
    plain = Study(data="digits").learning_rate
    assert Study(data="digits", optimizer=written).learning_rate == plain
    assert Study(data="digits", optimizer="adam").learning_rate != plain


def trained(optimizer: str, schedule: str, lr: float) -> dict[str, torch.Tensor]:
    """A net after a study's updates."""
    study = Study(data="digits", optimizer=optimizer, lr=lr, lr_schedule=schedule)  # type: ignore[arg-type]
    net, recipe = make_net(), plain_recipe(study)
    updating = make_optimizer(net, recipe)
    before_step = make_schedule(net, recipe, STEPS, updating)
    for step in range(STEPS):
        before_step(step)
        update(net, updating)
    return net.state_dict()


def trained_by_torch(
    kind: Any, scheduler: Any, arguments: dict[str, Any], decay: float = 0.0
) -> dict[str, torch.Tensor]:
    net = make_net()
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    updating = kind(groups, **arguments)
    schedule = scheduler(updating)
    for _ in range(STEPS):
        update(net, updating)
        schedule.step()
    return net.state_dict()


def make_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def update(net: nn.Sequential, optimizer: Any) -> None:
    x = torch.arange(12.0).reshape(4, 3) / 10
    optimizer.zero_grad()
    F.cross_entropy(net(x), torch.tensor([0, 1, 1, 0])).backward()
    optimizer.step()


def constant(optimizer: Any) -> Any:
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def cosine(optimizer: Any) -> Any:
    return lr_scheduler.CosineAnnealingLR(optimizer, STEPS)


def linear(optimizer: Any) -> Any:
    return lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)


@pytest.mark.parametrize(
    ("given", "kind", "arguments", "decay"),
    [
        ("adamw(weight_decay=0.1)", torch.optim.AdamW, {}, 0.1),
        ("Adam(betas=(0.8, 0.9))", torch.optim.Adam, {"betas": (0.8, 0.9)}, 0.0),
        (
            "sgd(momentum=0.5,nesterov=True)",
            torch.optim.SGD,
            {"momentum": 0.5, "nesterov": True},
            0,
        ),
        ("sgd(nesterov=True)", torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, 0.0),
        ("rmsprop", torch.optim.RMSprop, {}, 0.0),
    ],
)
@pytest.mark.parametrize(
    ("schedule", "scheduler"),
    [("constant", constant), ("cosine", cosine), ("linear", linear)],
)
def test_updates_are_torchs(
    given: str, kind: Any, arguments: dict[str, Any], decay: float, schedule: str, scheduler: Any
) -> None:
    theirs = trained_by_torch(kind, scheduler, {"lr": 0.01, **arguments}, decay)
    torch.testing.assert_close(trained(given, schedule, 0.01), theirs, rtol=1e-5, atol=1e-7)


def test_one_cycle_is_torchs() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=101, final_div_factor=1e9)
    for step in range(101):
        # theirs spends the 30 % on 30.3 - 1 steps, ours on 30.3
        rising = 0.3 * 101 - 1
        done = (
            0.3 * step / rising if step < rising else 0.3 + 0.7 * (step - rising) / (100 - rising)
        )
        assert math.isclose(
            SCHEDULES["one-cycle"](done), optimizer.param_groups[0]["lr"], abs_tol=1e-6
        )
        optimizer.step()
        if step < 100:
            schedule.step()


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_stays_within_its_highest_rate(name: str) -> None:
    values = [SCHEDULES[name](step / 100) for step in range(101)]
    assert max(values) == pytest.approx(1.0, abs=1e-3)
    assert min(values) >= 0.0
    assert values[-1] == pytest.approx(1.0 if name == "constant" else 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("adamv", "no optimizer 'adamv': did you mean 'adam"),
        ("lbfgs", "needs the loss several times per update"),
        ("adamw(lr=1)", "give the learning rate with --lr"),
        ("adamw(weigth_decay=0.1)", "did you mean 'weight_decay'"),
        ("adamw(0.1)", "as argument=value"),
        ("adamw(betas=(0.9,)", "as argument=value"),
        ("adamw(betas=__import__('os'))", "as argument=value"),
        ("adamw(betas=(2.0, 0.9))", "Invalid beta"),
        ("adamw(eps='x')", "adamw"),
        ("sgd(momentum=0, nesterov=True)", "requires a momentum"),
        ("", "NAME"),
    ],
)
def test_bad_optimizers(given: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Study(data="digits", optimizer=given)


def test_no_optimizer_decays_weights_by_itself() -> None:
    assert parse_optimizer("adamw") == ("adamw", {})
    assert plain_recipe(Study(data="digits", optimizer="adamw")).weight_decay == 0.0
    assert plain_recipe(Study(data="digits", optimizer="adamw")).lr == 0.001
    assert plain_recipe(Study(data="digits")).lr == 0.05

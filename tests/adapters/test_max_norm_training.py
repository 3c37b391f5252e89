"""Projection as a part of the optimizer's step: once for each real step, whatever the loop."""

import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dropkit.adapters._steps import project_after_steps
from dropkit.constrain import max_norm_

C = 0.4


def training(make, **options):
    """A net whose first weights lie outside the ball, its optimizer, and a batch."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = make(net.parameters(), **options)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(16, 4, generator=generator), torch.randn(16, 2, generator=generator)
    return net, optimizer, lambda: nn.functional.mse_loss(net(x), y)


def largest_norm(net):
    weights = [parameter for parameter in net.parameters() if parameter.ndim == 2]
    return max(weight.detach().norm(dim=1).max().item() for weight in weights)


def values(net):
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9}),
        (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "foreach": True}),
        (torch.optim.SGD, {"lr": 0.5, "momentum": 0.9, "fused": True}),
        (torch.optim.AdamW, {"lr": 0.1, "fused": True}),
    ],
)
def test_the_same_weights_as_projecting_by_hand(make, options):
    by_hand, optimizer, loss = training(make, **options)
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        max_norm_(by_hand, C)
    net, optimizer, loss = training(make, **options)
    project_after_steps([optimizer], net, C)
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert same(values(net), values(by_hand))
    assert largest_norm(net) <= C


def test_an_optimizer_that_evaluates_the_loss_itself():
    net, optimizer, loss = training(torch.optim.LBFGS, lr=1.0, max_iter=3)
    project_after_steps([optimizer], net, C)

    def closure():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    assert largest_norm(net) <= C


def test_gradients_of_several_batches_make_one_step():
    net, optimizer, loss = training(torch.optim.SGD, lr=0.5)
    project_after_steps([optimizer], net, C)
    before = values(net)
    loss().backward()
    assert same(values(net), before), "a batch is no step"
    loss().backward()
    optimizer.step()
    assert largest_norm(net) <= C


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_loss_scaling_skips_changes_nothing(fused):
    net, optimizer, loss = training(torch.optim.SGD, lr=0.5, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    project_after_steps([optimizer], net, C)
    before = values(net)
    assert largest_norm(net) > C
    for overflow in (True, False):
        optimizer.zero_grad()
        scaler.scale(loss() * (math.inf if overflow else 1.0)).backward()
        scaler.step(optimizer)
        scaler.update()
        if overflow:
            assert same(values(net), before)
    assert largest_norm(net) <= C


def test_mixed_precision_holds_the_bound():
    net, optimizer, loss = training(torch.optim.AdamW, lr=0.1)
    project_after_steps([optimizer], net, C)
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            value = loss()
        value.backward()
        optimizer.step()
        assert largest_norm(net) <= C


def test_an_average_of_the_weights_lies_in_the_ball():
    net, optimizer, loss = training(torch.optim.SGD, lr=0.5)
    max_norm_(net, C)
    project_after_steps([optimizer], net, C)
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(5):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        ema.update_parameters(net)
        # The ball is convex; the slack is the rounding of the average.
        assert largest_norm(ema) <= C * (1 + 4 * torch.finfo(torch.float32).eps)
    assert not same(values(ema.module), values(net))


def test_only_the_chosen_layers():
    net, optimizer, loss = training(torch.optim.SGD, lr=0.5)
    project_after_steps([optimizer], net[0], C)
    loss().backward()
    optimizer.step()
    assert largest_norm(net[0]) <= C
    assert largest_norm(net[2]) > C


def test_every_optimizer_projects_until_its_hook_is_removed():
    net, first, loss = training(torch.optim.SGD, lr=0.5)
    second = torch.optim.SGD(net[2].parameters(), lr=0.5)
    hooks = project_after_steps([first, second], net, C)
    for optimizer in (first, second):
        with torch.no_grad():
            net[0].weight.mul_(100)
        loss().backward()
        optimizer.step()
        assert largest_norm(net) <= C
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        net[0].weight.mul_(100)
    second.step()
    assert largest_norm(net) > C

"""The paper's training, in the paper's own terms, against ours, which scales kept units by 1/q."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from dropkit.constrain import max_norm_
from dropkit.noise import Dropout
from dropkit.paper import _train
from dropkit.paper._nets import mlp
from dropkit.paper._train import authors, fit, make_plain_recipe, plain

STEPS, ROWS, BATCH = 40, 30, 10
WIDTHS, P, P_INPUT = (6, 8, 7, 3), 0.5, 0.25
KEEPS = (0.75, 0.5, 0.5)  # of what comes in to each linear layer


class Recorded(Dropout):
    """A dropout layer whose masks are read from what it does to ones."""

    def forward(self, x):
        mask = super().forward(torch.ones_like(x))
        MASKS.append((mask != 0).to(x.dtype))
        return x * mask


MASKS: list[torch.Tensor] = []


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("max_norm", [None, 1.2])
def test_training_ends_at_q_times_the_papers_weights(max_norm, weight_decay):
    torch.manual_seed(0)
    x, y = torch.rand(ROWS, WIDTHS[0], dtype=torch.float64), torch.randint(3, (ROWS,))
    net = mlp(WIDTHS, p=P, p_input=P_INPUT, noise=Recorded, seed=1).double()
    # The paper's net: the same function at test time is q·w, so its weights begin at w / q.
    linears = [layer for layer in net if isinstance(layer, nn.Linear)]
    w = [(layer.weight.detach() / q) for layer, q in zip(linears, KEEPS, strict=True)]
    b = [layer.bias.detach().clone() for layer in linears]
    protocol = authors(STEPS, lr=0.3, max_norm=max_norm, weight_decay=weight_decay)
    protocol = replace(protocol, batch=BATCH)
    MASKS.clear()
    list(fit(net, x, y, protocol, seed=2, at=(STEPS,)))
    order = _train._batches(ROWS, BATCH, 2)
    vw, vb = [torch.zeros_like(a) for a in w], [torch.zeros_like(a) for a in b]
    masks = iter(MASKS)
    for step in range(STEPS):
        rows = next(order)
        params = [a.clone().requires_grad_() for a in (*w, *b)]
        h = x[rows]
        for i in range(3):
            h = nn.functional.linear(h * next(masks), params[i], params[3 + i])
            h = h.relu() if i < 2 else h
        nn.functional.cross_entropy(h, y[rows]).backward()
        lr, momentum = protocol.lr(step), protocol.momentum(step)
        for i in range(3):
            vw[i] = momentum * vw[i] + params[i].grad + weight_decay * w[i]
            w[i] = w[i] - lr * vw[i]
            vb[i] = momentum * vb[i] + params[3 + i].grad
            b[i] = b[i] - lr * vb[i]
            if max_norm is not None:
                max_norm_(w[i], max_norm)
    for layer, weight, bias, q in zip(linears, w, b, KEEPS, strict=True):
        torch.testing.assert_close(layer.weight.detach(), q * weight, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(layer.bias.detach(), bias, rtol=1e-9, atol=1e-12)


def test_the_limit_is_reached_in_that_test():
    """Otherwise the comparison above would not see the max-norm."""
    torch.manual_seed(0)
    x, y = torch.rand(ROWS, WIDTHS[0], dtype=torch.float64), torch.randint(3, (ROWS,))
    net = mlp(WIDTHS, p=P, p_input=P_INPUT, seed=1).double()
    list(fit(net, x, y, authors(STEPS, lr=0.3, max_norm=1.2), seed=2, at=(STEPS,)))
    norms = [layer.weight.norm(dim=1).max() for layer in net if isinstance(layer, nn.Linear)]
    limits = [1.2 * q for q in KEEPS]
    assert all(n <= limit * (1 + 1e-12) for n, limit in zip(norms, limits, strict=True))
    assert any(n > 0.999 * limit for n, limit in zip(norms, limits, strict=True))


def test_schedules_run_through_the_whole_way_at_any_length():
    for updates in (100, 10_000):
        protocol = authors(updates)
        assert protocol.lr(0) == 1.0
        assert protocol.lr(updates) == pytest.approx(1 / 101)
        assert protocol.momentum(updates) == pytest.approx(0.99, abs=1e-4)
        assert plain(updates).momentum(updates) == 0.9


def test_batches_are_whole_and_every_row_comes_once_a_pass():
    order = _train._batches(10, 5, seed=0)
    assert sorted(torch.cat([next(order), next(order)]).tolist()) == list(range(10))
    assert len(next(_train._batches(3, 100, seed=0))) == 3


def test_a_measurement_sees_the_net_in_evaluation_and_the_generator_is_left_alone():
    x, y = torch.rand(20, 6), torch.randint(3, (20,))
    net = mlp(WIDTHS, p=P, seed=1)
    before = torch.get_rng_state()
    modes = [net.training for _ in fit(net, x, y, authors(4), seed=0, at=(2, 4))]
    assert modes == [False, False]
    assert torch.equal(before, torch.get_rng_state())


def test_the_falling_recipe_is_that_of_compare_and_takes_our_layers_as_they_are():
    torch.manual_seed(0)
    x, y = torch.rand(ROWS, WIDTHS[0]), torch.randint(3, (ROWS,))
    ours, theirs = (mlp(WIDTHS, p=P, p_input=P_INPUT, initial="torch", seed=1) for _ in range(2))
    protocol = replace(make_plain_recipe(STEPS, lr=0.3, max_norm=0.9), batch=BATCH)
    with torch.random.fork_rng():
        list(fit(ours, x, y, protocol, seed=2, at=(STEPS,)))
        optimizer = torch.optim.SGD(theirs.parameters(), lr=0.3, momentum=0.9)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS)
        order = _train._batches(ROWS, BATCH, 2)
        torch.manual_seed(2)
        for _ in range(STEPS):
            rows = next(order)
            optimizer.zero_grad()
            nn.functional.cross_entropy(theirs(x[rows]), y[rows]).backward()
            optimizer.step()
            decay.step()
            max_norm_(theirs, 0.9)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_initial_weights_are_torchs_where_asked_for():
    net = mlp((50, 400, 3), initial="torch", seed=1)
    weight, bias = net[0].weight.detach(), net[0].bias.detach()
    assert weight.abs().max() <= 50**-0.5
    assert weight.std() == pytest.approx((3 * 50) ** -0.5, rel=0.02)  # of a uniform distribution
    assert 0 < bias.abs().max() <= 50**-0.5

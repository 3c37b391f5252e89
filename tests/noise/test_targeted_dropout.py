"""What pruning would take falls at the rate asked for, and nothing else does."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.noise._targeted_dropout import TargetedDropout

LAYERS = [
    (lambda: nn.Linear(10, 4), (5, 10)),
    (lambda: nn.Conv1d(2, 4, 5), (3, 2, 6)),
    (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (2, 4, 5, 5)),
]


def targets(weight, gamma, units):
    """Which weights are targeted, one by one."""
    found = torch.zeros_like(weight, dtype=torch.bool)
    if units:
        order = sorted(range(len(weight)), key=lambda i: float(weight[i].square().sum()))
        found[order[: math.floor(round(gamma * len(weight), 9))]] = True
        return found
    for row, marked in zip(weight.flatten(1), found.flatten(1), strict=True):
        order = sorted(range(len(row)), key=lambda i: abs(float(row[i])))
        marked[order[: math.floor(round(gamma * len(row), 9))]] = True
    return found


@pytest.mark.parametrize(("make", "shape"), LAYERS)
@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_at_rate_one_it_is_the_pruned_layer(make, shape, units, gamma):
    layer = TargetedDropout(make(), 1.0, gamma, units=units)
    weight, x = layer.layer.weight.detach().clone(), torch.randn(shape)
    gone = targets(weight, gamma, units)
    plain = layer.pruned()
    assert type(plain) is type(layer.layer)
    assert torch.equal(plain.weight, weight.masked_fill(gone, 0))
    assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.layer.weight, weight)
    layer(x).square().sum().backward()
    gradient = layer.layer.weight.grad
    assert torch.equal(gradient == 0, gone)
    layer.drop.p = 0.0
    assert torch.equal(layer(x), layer.layer(x))


def test_the_share_is_exact():
    for n, gamma, count in ((100, 0.29, 29), (10, 0.7, 7), (10, 0.69, 6), (3, 0.5, 1)):
        layer = TargetedDropout(nn.Linear(n, 2), gamma=gamma)
        assert (layer.pruned().weight == 0).sum(1).tolist() == [count, count]
    equal = TargetedDropout(nn.Linear(8, 2), gamma=0.5)
    nn.init.ones_(equal.layer.weight)
    assert (equal.pruned().weight == 0).sum(1).tolist() == [4, 4]


def seen(layer, x, calls):
    with torch.no_grad():
        return torch.stack([layer(x) for _ in range(calls)])


def test_targeted_weights_fall_independently():
    """The frequency of all the masks of one output's three targeted weights."""
    p, calls = 0.3, 8000
    layer = TargetedDropout(nn.Linear(5, 1, bias=False), p, 0.6)
    with torch.no_grad():
        layer.layer.weight.copy_(torch.tensor([[0.5, -8.0, -0.25, 16.0, 1.0]]))
    y = seen(layer, torch.ones(1, 5), calls).flatten()
    total = 0.0
    for mask in itertools.product((0, 1), repeat=3):
        value = 8.0 + 0.5 * mask[0] - 0.25 * mask[1] + 1.0 * mask[2]
        chance = (1 - p) ** sum(mask) * p ** (3 - sum(mask))
        share = float((y == value).double().mean())
        assert abs(share - chance) < 5 * math.sqrt(chance * (1 - chance) / calls)
        total += share
    assert math.isclose(total, 1.0)


def test_targeted_units_fall_whole_and_independently():
    p, calls = 0.3, 4000
    layer = TargetedDropout(nn.Conv2d(3, 4, 2, bias=False), p, 0.5, units=True)
    with torch.no_grad():
        layer.layer.weight[1:3] *= 0.1
    x = torch.rand(1, 3, 3, 3)
    y = seen(layer, x, calls)[:, 0].flatten(2)
    fallen = (y == 0).all(-1)
    assert torch.equal(fallen, (y == 0).any(-1))
    assert not bool(fallen[:, [0, 3]].any())
    for share, chance in (
        (fallen[:, 1].double().mean(), p),
        (fallen[:, 2].double().mean(), p),
        (fallen[:, 1:3].all(1).double().mean(), p * p),
    ):
        assert abs(float(share) - chance) < 5 * math.sqrt(chance * (1 - chance) / calls)


@pytest.mark.parametrize("units", [False, True])
@pytest.mark.parametrize(("make", "shape"), LAYERS)
def test_evaluation_is_the_layer_and_exports(make, shape, units):
    model, x = TargetedDropout(make(), units=units).eval(), torch.randn(shape)
    state = torch.get_rng_state()
    assert torch.equal(model(x), model.layer(x))
    assert torch.equal(torch.get_rng_state(), state)
    program = torch.export.export(model, (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    assert not any("draw_seed" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize("units", [False, True])
def test_compiled_equals_eager_and_takes_new_rates(units):
    model, x = TargetedDropout(nn.Linear(10, 8), 0.5, units=units), torch.randn(5, 10)

    def draw(model):
        torch.manual_seed(0)
        return model(x)

    expected = draw(model)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(draw(compiled), expected)
    with torch._dynamo.config.patch(error_on_recompile=True):
        model.drop.p = 1.0
        torch.testing.assert_close(draw(compiled), model.pruned()(x))
        assert not torch.equal(draw(model), expected)


def test_training_makes_the_targeted_weights_dispensable():
    """A function that needs half of the inputs: with targeting, pruning the rest costs little."""
    x = torch.randn(400, 10)
    y = x[:, :5].sum(1, keepdim=True) + x[:, 5:].sum(1, keepdim=True) * 0.5
    losses = {}
    for p in (0.0, 0.9):
        torch.manual_seed(1)
        layer = TargetedDropout(nn.Linear(10, 1), p, 0.5)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
        for _ in range(300):
            loss = (layer(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[p] = float((layer.pruned()(x) - y).square().mean().detach())
    assert losses[0.9] < losses[0.0]


def test_copies_checkpoints_and_dtypes():
    model, x = TargetedDropout(nn.Linear(10, 4), 0.5), torch.randn(5, 10)

    def draw(layer):
        torch.manual_seed(2)
        return layer(x)

    expected = draw(model)
    other = TargetedDropout(nn.Linear(10, 4), 0.5)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]
    other.load_state_dict(model.state_dict(), strict=True)
    for twin in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(draw(twin), expected)
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        assert copy.deepcopy(model).to(dtype)(x.to(dtype)).dtype == dtype
    assert model(x[:0]).shape == (0, 4)


def test_refuses_what_it_cannot_do():
    for gamma in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"gamma must lie in \[0, 1\]"):
            TargetedDropout(nn.Linear(2, 2), gamma=gamma)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        TargetedDropout(nn.Linear(2, 2), 1.5)
    for layer in (nn.ReLU(), nn.LSTM(2, 2), nn.ConvTranspose2d(2, 2, 2)):
        with pytest.raises(TypeError, match=r"layer must be an nn\.Linear, .* got"):
            TargetedDropout(layer)
    assert "gamma=0.5, units=False" in repr(TargetedDropout(nn.Linear(2, 2)))

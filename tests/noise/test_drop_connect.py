"""Weights fall one by one for a call, and are back at the next."""

import itertools
import math

import pytest
import torch
from torch import nn

from dropkit.noise._drop_connect import DropConnect

LAYERS = [
    (nn.Linear(4, 3), (5, 4)),
    (nn.Conv2d(2, 3, 3, padding=1), (2, 2, 5, 5)),
    (nn.ConvTranspose1d(2, 3, 3), (2, 2, 6)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_is_the_layer_with_dropped_weights(layer, shape, p):
    model = DropConnect(layer, p)
    weight = layer.weight.detach().clone()
    x = torch.randn(shape)
    torch.manual_seed(0)
    y = model(x)
    y.square().sum().backward()
    torch.manual_seed(0)
    dropped = model.drop(torch.ones_like(weight))
    assert torch.equal(layer.weight, weight)
    gradient = layer.weight.grad
    assert bool((gradient[dropped == 0] == 0).all())
    layer.zero_grad()
    with torch.no_grad():
        layer.weight.mul_(dropped)
        expected = layer(x)
        layer.weight.copy_(weight)
    torch.testing.assert_close(y, expected)


def test_mean_and_variance_of_a_linear_layer():
    """Against the sum over all the masks of a unit's three weights."""
    p, calls = 0.3, 20_000
    layer = nn.Linear(3, 1, dtype=torch.float64)
    model = DropConnect(layer, p)
    x = torch.tensor([[1.0, -2.0, 0.5]], dtype=torch.float64)
    mean = second = 0.0
    for mask in itertools.product((0, 1), repeat=3):
        kept = sum(mask)
        weight = layer.weight * torch.tensor(mask) / (1 - p)
        y = float(nn.functional.linear(x, weight, layer.bias).detach())
        chance = (1 - p) ** kept * p ** (3 - kept)
        mean += chance * y
        second += chance * y * y
    variance = second - mean**2
    assert math.isclose(mean, float(layer(x).detach()), rel_tol=1e-12)
    stated = p / (1 - p) * float((layer.weight * x).square().sum().detach())
    assert math.isclose(variance, stated, rel_tol=1e-9)
    torch.manual_seed(0)
    with torch.no_grad():
        y = torch.stack([model(x)[0, 0] for _ in range(calls)])
    assert abs(float(y.mean()) - mean) < 5 * math.sqrt(variance / calls)
    error = float((y - y.mean()).square().std()) / math.sqrt(calls)
    assert abs(float(y.var()) - variance) < 5 * error


def test_evaluation_is_the_layer():
    model = DropConnect(nn.Linear(4, 3), 0.5).eval()
    x = torch.randn(5, 4)
    state = torch.get_rng_state()
    assert torch.equal(model(x), model.layer(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(model.state_dict()) == ["layer.weight", "layer.bias"]


def test_compiled_equals_eager_and_exports():
    model, x = DropConnect(nn.Linear(4, 3), 0.5), torch.randn(5, 4)
    torch.manual_seed(0)
    expected = model(x)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x), expected)
    program = torch.export.export(model.eval(), (x,))
    assert torch.equal(program.module()(x), model(x))


def test_refuses_layers_without_a_weight():
    for layer in (nn.ReLU(), nn.LSTM(2, 2)):
        with pytest.raises(TypeError, match="must have a parameter 'weight', got"):
            DropConnect(layer)

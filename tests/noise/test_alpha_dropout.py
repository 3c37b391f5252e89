"""Alpha dropout keeps the moments of standardised activations, by algebra and by draws."""

import math
import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

from dropkit.noise._alpha_dropout import AlphaDropout, FeatureAlphaDropout, alpha_dropout
from dropkit.random import keep_mask

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
LOW = float(nn.functional.selu(torch.tensor(-1e9, dtype=torch.float64)))


def levels(p, x):
    """What a unit becomes if dropped and if kept, read off two masks of one call."""
    keep = keep_mask(64, p, seed=0)
    y = alpha_dropout(torch.full((64,), x, dtype=torch.float64), p, seed=0)
    (dropped,), (kept,) = y[~keep].unique(), y[keep].unique()
    return float(dropped), float(kept)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_mean_and_variance_by_enumeration(p):
    """A unit is ±1, an input of mean 0 and variance 1, and dropped or kept: four cases."""
    cases = []
    rate = round(p * 65536) / 65536  # that of the mask
    for x in (-1.0, 1.0):
        dropped, kept = levels(p, x)
        cases += [(rate / 2, dropped), ((1 - rate) / 2, kept)]
    mean = sum(weight * y for weight, y in cases)
    second = sum(weight * y * y for weight, y in cases)
    assert abs(mean) < 1e-12
    assert abs(second - 1) < 1e-12


def test_dropped_units_take_selus_limit():
    p = 0.25
    dropped, kept = levels(p, 0.0)
    _, at_low = levels(p, LOW)
    assert abs(dropped - at_low) < 1e-12  # as if the input had been at the limit
    assert kept > dropped


@pytest.mark.parametrize("p", [0.03, 0.3])
def test_moments_of_a_normal_input(p):
    n = 1_000_000
    torch.manual_seed(0)
    y = AlphaDropout(p)(torch.randn(n, dtype=torch.float64))
    assert abs(float(y.mean())) < 5 / math.sqrt(n)
    error = float((y - y.mean()).square().std()) / math.sqrt(n)
    assert abs(float(y.var()) - 1) < 5 * error


def test_the_mask_is_the_engines():
    x = torch.randn(6, 5, dtype=torch.float64)
    keep = keep_mask((6, 5), 0.5, seed=3)
    y = alpha_dropout(x, 0.5, seed=3)
    a = (0.5 + LOW**2 * 0.25) ** -0.5
    expected = a * torch.where(keep, x, LOW) - a * 0.5 * LOW
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_features_fall_whole():
    y = FeatureAlphaDropout(0.5)(torch.ones(30, 4, 3, 2))
    assert bool((y == y[..., :1, :1]).all())
    channels = y[..., 0, 0]
    assert len(channels.unique()) == 2
    assert not bool((channels == channels[:, :1]).all())
    with pytest.raises(ValueError, match=r"must be \(N, C, …\), got shape \(4,\)"):
        FeatureAlphaDropout()(torch.ones(4))


@pytest.mark.parametrize("layer", [AlphaDropout, FeatureAlphaDropout])
@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes(layer, dtype):
    x = torch.randn(4, 5, 2).to(dtype)
    x[0, 0, 0] = torch.inf
    x.requires_grad_()
    assert torch.equal(layer(0.0)(x), x)
    y = layer(1.0)(x)
    assert torch.equal(y, torch.zeros_like(x))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(gradient, torch.zeros_like(x))
    y = layer(0.5)(torch.full_like(x, torch.inf))
    assert not bool(y.isnan().any())
    assert layer(0.5)(x[:0]).shape == (0, 5, 2)
    model = layer(0.5).eval()
    assert model(x) is x


def test_gradients():
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: alpha_dropout(x, 0.4, seed=1), x)


@pytest.mark.parametrize("dtype", FLOATS[1:])
def test_rounded_once(dtype):
    x = torch.randn(1000).to(dtype)
    exact = alpha_dropout(x.double(), 0.3, seed=2)
    found = alpha_dropout(x, 0.3, seed=2)
    assert found.dtype == dtype
    bound = 0.5 * torch.finfo(dtype).eps * exact.abs() + 8 * torch.finfo(torch.float32).eps
    assert bool(((found.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("layer", [AlphaDropout(0.3), FeatureAlphaDropout(0.3)])
def test_copies_compiled_and_exported(layer):
    x = torch.randn(6, 5, 2)

    def draw(model):
        torch.manual_seed(5)
        return model(x)

    expected = draw(layer)
    assert not torch.equal(layer(x), expected)
    assert torch.equal(draw(deepcopy(layer)), expected)
    assert torch.equal(draw(pickle.loads(pickle.dumps(layer))), expected)
    assert not layer.state_dict()
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(draw(compiled), expected, rtol=1e-6, atol=1e-6)
    with torch._dynamo.config.patch(error_on_recompile=True):
        layer.p = 0.6
        torch.testing.assert_close(draw(compiled), draw(layer), rtol=1e-6, atol=1e-6)
        assert not torch.equal(draw(layer), expected)
    program = torch.export.export(nn.Sequential(deepcopy(layer)).eval(), (x,))
    assert torch.equal(program.module()(x), x)


def test_refuses_what_is_no_probability():
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            AlphaDropout(p)
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            alpha_dropout(torch.ones(2), p)

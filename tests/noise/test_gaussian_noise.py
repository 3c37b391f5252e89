"""Additive noise keeps the contract, and is what its docstring says."""

import math

import pytest
import torch

from dropkit.noise import GaussianDropout, Noise
from dropkit.noise._gaussian_dropout import gaussian_dropout
from dropkit.noise._gaussian_noise import GaussianNoise, gaussian_noise
from dropkit.testing import check_noise

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("std", [0.0, 0.1, 3.0])
def test_keeps_the_contract(std):
    check_noise(GaussianNoise(std), variance=lambda x: torch.full_like(x, std**2))


def test_is_normal():
    z = gaussian_noise(torch.zeros(1_000_000, dtype=torch.float64), 1.0, seed=3)
    error = 1 / math.sqrt(z.numel())
    # Standard errors of the third and fourth moment of a normal variable: √15 and √96 of 1/√n.
    assert abs(float((z**3).mean())) < 5 * math.sqrt(15) * error
    assert abs(float((z**4).mean()) - 3.0) < 5 * math.sqrt(96) * error
    below = float((z < 1.0).double().mean())
    expected = 0.5 * (1 + math.erf(math.sqrt(0.5)))
    assert abs(below - expected) < 5 * math.sqrt(expected * (1 - expected)) * error


def test_the_noise_is_that_of_gaussian_dropout():
    x = torch.linspace(-2, 2, 100, dtype=torch.float64)
    p = 0.2  # a variance of 0.25
    noise = gaussian_dropout(torch.ones_like(x), p, seed=9) - 1
    torch.testing.assert_close(gaussian_noise(x, 0.5, seed=9), x + noise, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_sum_is_rounded_once(dtype):
    x = torch.linspace(-2, 2, 1001).to(dtype)
    exact = gaussian_noise(x.double(), 0.5, seed=9)
    if dtype is torch.float64:
        assert torch.equal(exact, gaussian_noise(x, 0.5, seed=9))
        return
    # Half a unit in the last place, and what float32 adds to it.
    bound = (0.5 * torch.finfo(dtype).eps + 4 * torch.finfo(torch.float32).eps) * 4.0
    assert float((gaussian_noise(x, 0.5, seed=9).double() - exact).abs().max()) <= bound


def test_layer_and_function_agree():
    layer = GaussianNoise(0.3)
    x = torch.randn(5, 7)
    torch.manual_seed(4)
    expected = layer(x)
    torch.manual_seed(4)
    assert torch.equal(gaussian_noise(x, 0.3), expected)
    assert gaussian_noise(x, 0.3, training=False) is x
    assert layer.eval()(x) is x
    assert repr(layer) == "GaussianNoise(std=0.3)"
    assert isinstance(layer, Noise)
    assert not isinstance(layer, GaussianDropout)


def test_an_own_generator_decides():
    x = torch.randn(5, 7)
    draws = [gaussian_noise(x, 0.3, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_one_graph():
    layer = torch.compile(GaussianNoise(0.3), backend="eager", fullgraph=True)
    x = torch.zeros(64)
    assert float(layer(x).std()) > 0.1
    assert torch.equal(layer.eval()(x), x)


@pytest.mark.parametrize("std", [-0.1, math.nan, math.inf])
def test_refuses_what_is_no_standard_deviation(std):
    for build in (lambda: GaussianNoise(std), lambda: gaussian_noise(torch.ones(2), std)):
        with pytest.raises(ValueError, match="std must be a finite number, 0 or more"):
            build()


def test_refuses_integers():
    with pytest.raises(TypeError, match=r"got torch\.int64; convert it"):
        GaussianNoise(0.1)(torch.ones(2, dtype=torch.int64))

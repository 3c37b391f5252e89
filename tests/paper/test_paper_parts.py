"""The parts of the experiments that are mathematics."""

import math

import numpy as np
import pytest
import torch

from dropkit.paper import Maxout
from dropkit.paper._nets import mlp
from dropkit.paper._penalties import KLSparsity, divergence, l1
from dropkit.paper.figure_7 import sparseness
from dropkit.paper.linear_regression import closed_form


def test_sparseness_of_a_point_of_noise_and_of_nothing():
    point = torch.zeros(1, 784, dtype=torch.float64)
    point[0, 5] = -3.0
    assert sparseness(point).item() == pytest.approx(1.0)
    assert sparseness(torch.ones(1, 784, dtype=torch.float64)).item() == pytest.approx(0.0)
    assert sparseness(torch.zeros(1, 784)).item() == 0.0
    # For normal noise ‖w‖₁/‖w‖₂ comes near √n·√(2/π).
    noise = torch.randn(200, 784, generator=torch.Generator().manual_seed(0))
    expected = (28 - 28 * math.sqrt(2 / math.pi)) / 27
    assert sparseness(noise).mean().item() == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_closed_form_is_the_least_expected_square_over_all_masks(p):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(2, generator=generator, dtype=torch.float64)
    w = closed_form(x, y, p).clone().requires_grad_()
    bits = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6)
    kept = bits.sum(1)
    chance = (1 - p) ** kept * p ** (6 - kept)
    masks = bits.reshape(-1, 2, 3) / (1 - p)
    loss = (chance * (y - (x * masks) @ w).square().sum(1)).sum()
    (slope,) = torch.autograd.grad(loss, w)
    assert slope.abs().max() < 1e-12


def test_maxout_takes_the_largest_of_its_pieces():
    x = torch.randn(4, 12)
    assert torch.equal(Maxout(3)(x), x.reshape(4, 4, 3).max(-1).values)
    with pytest.raises(ValueError, match="multiple of 5"):
        Maxout(5)(x)
    with pytest.raises(ValueError, match="1 or more"):
        Maxout(0)
    net = mlp((6, 8, 7, 3), pieces=5)
    assert [layer.out_features for layer in net if hasattr(layer, "out_features")] == [40, 35, 3]
    assert net(torch.randn(2, 6)).shape == (2, 3)


def test_l1_counts_weights_and_not_biases():
    net = mlp((2, 3, 2))
    expected = sum(layer.weight.abs().sum() for layer in net if hasattr(layer, "weight"))
    for layer in net:
        if hasattr(layer, "bias"):
            layer.bias.data += 7
    assert l1(net, 0.5).item() == pytest.approx(0.5 * expected.item())


def test_divergence_against_numpy_and_at_its_zero():
    a = np.array([0.01, 0.05, 0.4])
    expected = (0.05 * np.log(0.05 / a) + 0.95 * np.log(0.95 / (1 - a))).sum()
    assert divergence(torch.from_numpy(a), 0.05).item() == pytest.approx(expected)
    assert divergence(torch.tensor([0.05]), 0.05).item() == pytest.approx(0.0, abs=1e-7)
    assert math.isfinite(divergence(torch.tensor([0.0, 1.0]), 0.05).item())


def test_sparsity_sees_every_hidden_layer_once_and_only_in_training():
    net = mlp((4, 5, 6, 2))
    penalty = KLSparsity(net, weight=2.0)
    x = torch.randn(10, 4)
    net(x)
    first = net[0](x).relu()
    second = net[2](first).relu()
    activities = [1 - torch.exp(-h).mean(0) for h in (first, second)]
    expected = 2 * sum(divergence(a, 0.05) for a in activities)
    assert penalty(net).item() == pytest.approx(expected.item(), rel=1e-5)
    net.eval()
    net(x)
    assert penalty._seen == []

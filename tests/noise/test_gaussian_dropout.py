"""Gaussian dropout by its distribution."""

import math

import pytest
import torch

from dropkit.functional import gaussian_dropout
from dropkit.noise import GaussianDropout
from dropkit.random.normal import quantiles
from dropkit.random.philox import words
from dropkit.testing import check_noise


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_contract(p):
    check_noise(GaussianDropout(p))


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_noise_is_normal(p):
    n = 200_000
    sigma = math.sqrt(p / (1 - p))
    z = (gaussian_dropout(torch.ones(n, dtype=torch.float64), p, seed=4) - 1) / sigma
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.square().mean() - 1) < 5 * math.sqrt(2 / n)
    # Kolmogorov–Smirnov: the distance passes 1.95/√n once in 1000 times.
    level = torch.special.ndtr(z.sort().values)
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    assert (level - steps).abs().max() < 1.95 / math.sqrt(n) + 1 / n


def test_noise_is_the_documented_transform_of_the_words():
    drawn = torch.cat(list(words(500, torch.tensor(9), 0)))
    z = quantiles()[drawn.int() + (1 << 15)]
    expected = z * math.sqrt(0.3 / 0.7) + 1
    assert torch.equal(gaussian_dropout(torch.ones(500), 0.3, seed=9), expected)


def test_infinite_variance_is_refused():
    with pytest.raises(ValueError, match=r"Dropout\(1.0\) gives zeros"):
        GaussianDropout(1.0)
    layer = GaussianDropout(0.5)
    with pytest.raises(ValueError, match="infinite"):
        layer.p = 1.0


def test_identity_without_training():
    x = torch.ones(3)
    assert gaussian_dropout(x, 0.5, training=False) is x

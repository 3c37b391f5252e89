"""Dropout against all masks of a tiny tensor, and by its moments."""

import itertools
import math

import pytest
import torch

from dropkit.functional import dropout
from dropkit.noise import Dropout
from dropkit.testing import check_noise


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_contract(p):
    check_noise(Dropout(p))


def test_contract_with_shared_dimensions():
    check_noise(Dropout(0.3, shared_dims=(-1,)))


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_every_mask_comes_as_often_as_it_should(p):
    n, calls = 4, 20_000
    y = dropout(torch.ones(calls, n, dtype=torch.float64), p, seed=1)
    kept = y != 0
    assert set(y.unique().tolist()) == {0.0, 65536 / (65536 - round(65536 * p))}
    for mask in itertools.product([False, True], repeat=n):
        share = (kept == torch.tensor(mask)).all(dim=1).double().mean().item()
        expected = math.prod((1 - p) if m else p for m in mask)
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / calls)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_squared_loss_is_that_of_all_masks(p):
    """E(w·y − t)² over all 2ⁿ masks, against the draws."""
    w, x, t = torch.tensor([1.0, -2.0, 0.5]).double(), torch.tensor([2.0, 1.0, 3.0]).double(), 1.0
    q = (65536 - round(65536 * p)) / 65536
    exact = 0.0
    for mask in itertools.product([0.0, 1.0], repeat=3):
        m = torch.tensor(mask).double()
        weight = math.prod(q if kept else 1 - q for kept in mask)
        exact += weight * ((w * x * m / q).sum() - t).square().item()
    losses = ((dropout(x.expand(50_000, 3), p, seed=2) * w).sum(dim=1) - t).square()
    assert abs(losses.mean() - exact) < 5 * losses.std() / math.sqrt(len(losses))


def test_all_dropped():
    layer = Dropout(1.0)
    assert not layer(torch.full((9,), math.inf)).any()
    assert layer.variance == math.inf


def test_whole_channels():
    y = Dropout(0.5, shared_dims=(-2, -1))(torch.ones(8, 16, 5, 5))
    per_channel = y.flatten(2)
    assert torch.equal(per_channel.amin(-1), per_channel.amax(-1))
    assert set(per_channel.unique().tolist()) == {0.0, 2.0}


def test_repr_and_keep_prob_carry_the_shared_dimensions():
    layer = Dropout.from_keep_prob(0.75, shared_dims=(1, -1))
    assert repr(layer) == "Dropout(p=0.25, shared_dims=(1, -1))"


def test_identity_without_training():
    x = torch.ones(3)
    assert dropout(x, 0.5, training=False) is x

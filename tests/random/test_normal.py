"""The table of normal numbers: its bits, its moments, its distribution."""

import hashlib

import torch

from dropkit.random.normal import quantiles


def test_table_is_fixed_for_good():
    digest = hashlib.sha256(quantiles().numpy().tobytes()).hexdigest()
    assert digest == "e8cfff23047b7e58f6ae180f798c0bd13cfa7a46c5e6db798596865662071226"


def test_moments():
    z = quantiles().double()
    assert z.mean() == 0
    assert (z**3).sum().abs() < 1e-9
    assert abs(z.square().mean() - 1) < 2e-9
    assert abs((z**4).mean() - 3) < 1e-3


def test_distribution_is_normal_to_half_a_word():
    z = quantiles().double()
    assert (z.diff() > 0).all()
    level = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    # The stretch by 1 + 10⁻⁵ moves a level by less than 10⁻⁵ · max z·φ(z).
    assert (torch.special.ndtr(z) - level).abs().max() < 3e-6

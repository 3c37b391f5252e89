"""What a mask promises: exact rates, indifference to cutting, and clear refusals."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dropkit.random import keep_mask
from dropkit.random.mask import scale, threshold


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0, 0), (1, 65536), (0.5, 32768), (1 / 3, 21845), (2**-17, 0), (3 * 2**-17, 2), (1e-9, 0)],
)
def test_threshold_rounds_half_to_even(p, expected):
    assert threshold(p) == expected


@given(st.floats(0, 1))
def test_noise_has_mean_one_exactly(p):
    kept = 65536 - threshold(p)
    assert kept * scale(threshold(p)) / 65536 == pytest.approx(1 if kept else 0, abs=1e-15)


def test_rate_zero_keeps_and_rate_one_drops_everything():
    assert keep_mask(1000, 0.0, seed=1).all()
    assert not keep_mask(1000, 1.0, seed=1).any()


def test_rate_is_met():
    n, p = 1 << 20, 0.2
    kept = keep_mask(n, p, seed=3).sum().item()
    q = 1 - threshold(p) / 65536
    assert abs(kept - n * q) < 5 * (n * q * (1 - q)) ** 0.5


def test_a_higher_rate_drops_more_of_the_same():
    low, high = (keep_mask(5000, p, seed=9) for p in (0.2, 0.6))
    assert (low | ~high).all()


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 600), st.integers(0, 600), st.integers(0, 2**50))
def test_pieces_make_the_whole(first, second, offset):
    def mask(count, start):
        return keep_mask(count, 0.4, seed=5, stream=3, offset=start)

    pieces = torch.cat([mask(first, offset), mask(second, offset + first)])
    assert torch.equal(pieces, mask(first + second, offset))


def test_shape_and_seed_tensor():
    flat = keep_mask(24, 0.5, seed=torch.tensor(-1))
    assert torch.equal(keep_mask((2, 3, 4), 0.5, seed=2**64 - 1), flat.view(2, 3, 4))
    assert keep_mask((0, 3), 0.5, seed=0).shape == (0, 3)
    assert keep_mask((), 0.5, seed=0).shape == ()


def test_seeds_and_streams_differ():
    masks = [keep_mask(256, 0.5, seed=s, stream=t) for s in (0, 1, 2**32) for t in (0, 1, 2**32)]
    assert len({tuple(mask.tolist()) for mask in masks}) == 9


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": 1.5}, ValueError, r"p must lie in \[0, 1\]"),
        ({"p": float("nan")}, ValueError, r"p must lie in \[0, 1\]"),
        ({"seed": -1}, ValueError, r"seed must lie in \[0, 2\*\*64\), got -1"),
        ({"seed": 2**64}, ValueError, "seed must lie in"),
        ({"seed": 0.5}, TypeError, "seed must be an int"),
        ({"seed": True}, TypeError, "seed must be an int"),
        ({"seed": torch.tensor(1.0)}, TypeError, "must be int64"),
        ({"stream": -1}, ValueError, "stream must lie in"),
        ({"offset": -1}, ValueError, "offset must lie in"),
        ({"offset": 2**63}, ValueError, "offset must lie in"),
        ({"shape": (-1, 2)}, ValueError, "shape must not be negative"),
        ({"seed": torch.tensor([1, 2])}, ValueError, "scalar tensor"),
    ],
)
def test_bad_arguments(arguments, error, message):
    good = {"shape": 4, "p": 0.5, "seed": 0}
    with pytest.raises(error, match=message):
        keep_mask(**(good | arguments))

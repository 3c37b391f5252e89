"""The masks as random numbers: each test rejects a true generator once in 10⁵ times."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from dropkit.random import keep_mask
from dropkit.random.philox import words

SIGNIFICANCE = 1e-5
BITS = 1 << 27  # more than 10⁸

pytestmark = pytest.mark.soak


def assert_normal(z: float) -> None:
    assert 2 * stats.norm.sf(abs(z)) > SIGNIFICANCE, f"{z:.2f} standard errors off"


def assert_uniform(counts: np.ndarray) -> None:
    probability = stats.chisquare(counts).pvalue
    # Counts that are too even are as suspicious as counts that are too uneven.
    assert SIGNIFICANCE / 2 < probability < 1 - SIGNIFICANCE / 2


def signs(count: int, **where: int) -> torch.Tensor:
    """A fair mask as ±1 in float32; sums below 2²⁴ of them are exact."""
    return keep_mask(count, 0.5, **where).float().mul_(2).sub_(1)


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    """In standard errors."""
    sums = [(x * y).sum().item() for x, y in zip(a.split(1 << 22), b.split(1 << 22), strict=True)]
    return math.fsum(sums) / math.sqrt(len(a))


@pytest.fixture(scope="module")
def bits():
    return keep_mask(BITS, 0.5, seed=2024)


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.8])
def test_frequency(p):
    n, dropped = 1 << 26, round(65536 * p) / 65536
    kept = keep_mask(n, p, seed=99).sum().item()
    assert_normal((kept - n * (1 - dropped)) / math.sqrt(n * dropped * (1 - dropped)))


def test_runs(bits):
    n = len(bits)
    changes = (bits[1:] != bits[:-1]).sum().item()
    assert_normal((changes - (n - 1) / 2) / math.sqrt((n - 1) / 4))


def test_patterns_of_sixteen_neighbours(bits):
    weights = torch.tensor([1 << i for i in range(16)], dtype=torch.int32)
    patterns = [(chunk.view(-1, 16).int() * weights).sum(dim=1) for chunk in bits.split(1 << 24)]
    assert_uniform(torch.bincount(torch.cat(patterns), minlength=1 << 16).numpy())


def test_words():
    """2²⁶ words of 16 bits, all 65,536 values, and each of the eight that a counter gives."""
    counts = torch.zeros(8, 1 << 16, dtype=torch.int64)
    for chunk in words(1 << 26, torch.tensor(7), 0):
        for row, part in zip(counts, chunk.view(-1, 8).int().T + (1 << 15), strict=True):
            row += torch.bincount(part, minlength=1 << 16)
    assert_uniform(counts.sum(dim=0).numpy())
    for row in counts:
        assert_uniform(row.view(256, 256).sum(dim=0).numpy())
        assert_uniform(row.view(256, 256).sum(dim=1).numpy())


@pytest.mark.parametrize("lag", [1, 2, 7, 8, 9, 16, 64, 128, 1000, 1024, 4096, 1 << 20])
def test_neighbours_and_rows_are_uncorrelated(bits, lag):
    x = bits[: (1 << 24) + lag].float().mul_(2).sub_(1)
    assert_normal(correlation(x[:-lag], x[lag:]))


@pytest.mark.parametrize(
    "other",
    [{"seed": 6}, {"seed": 5 + 2**32}, {"stream": 1}, {"stream": 2**32}, {"offset": 2**36}],
)
def test_seeds_streams_and_offsets_are_uncorrelated(other):
    n = 1 << 24
    assert_normal(correlation(signs(n, seed=5), signs(n, **({"seed": 5} | other))))


def test_consecutive_seeds_and_streams_together():
    """Every pair among 64 consecutive ones, as one χ² of their correlations."""
    n = 1 << 16
    for name in ("seed", "stream"):
        x = torch.stack([signs(n, **({"seed": 1} | {name: i})) for i in range(64)]).double()
        z = (x @ x.T)[tuple(torch.triu_indices(64, 64, 1))] / math.sqrt(n)
        probability = stats.chi2.sf(z.square().sum().item(), len(z))
        assert SIGNIFICANCE / 2 < probability < 1 - SIGNIFICANCE / 2


def test_one_element_over_many_seeds():
    """What one unit sees over the calls of a training run."""
    n = 4096
    kept = torch.stack([keep_mask(64, 0.5, seed=s) for s in range(n)]).double().mul_(2).sub_(1)
    z = kept.sum(dim=0) / math.sqrt(n)
    assert stats.chi2.sf(z.square().sum().item(), 64) > SIGNIFICANCE
    in_turn = (kept[1:] * kept[:-1]).sum(dim=0) / math.sqrt(n - 1)
    assert stats.chi2.sf(in_turn.square().sum().item(), 64) > SIGNIFICANCE

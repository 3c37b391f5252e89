"""Blocks fall whole, and every unit at the rate asked for, at the edges too."""

import itertools
import math

import pytest
import torch
from torch import nn

from dropkit.noise._drop_block import (
    DropBlock2d,
    DropBlock3d,
    _blocks,
    _corner_rate,
    _draw,
    drop_block,
)
from dropkit.testing import check_noise


@pytest.mark.parametrize("block_size", [1, 2, 3, 6])
def test_2d_keeps_the_contract(block_size):
    check_noise(DropBlock2d(0.3, block_size), shape=(2, 3, 4, 5), calls=1000)


def test_3d_keeps_the_contract():
    check_noise(DropBlock3d(0.3, 2), shape=(2, 2, 3, 2, 3), calls=1000)
    check_noise(DropBlock2d(0.2, 2), shape=(3, 4, 5), calls=1000)


def covered(corners, height, width, block):
    """The units that blocks cover, painted block by block."""
    painted = torch.zeros(height, width, dtype=torch.bool)
    for row, column in corners.nonzero().tolist():
        for i, j in itertools.product(range(block), repeat=2):
            inside = 0 <= row - i < height and 0 <= column - j < width
            if inside:
                painted[row - i, column - j] = True
    return painted


@pytest.mark.parametrize(("height", "width", "block"), [(2, 2, 2), (1, 3, 2), (2, 1, 3), (3, 4, 1)])
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_every_unit_falls_with_probability_p_by_enumeration(height, width, block, p):
    """Over all the patterns of corners, each with its probability."""
    shape = (height + block - 1, width + block - 1)
    count = math.prod(shape)
    rate = float(_corner_rate(torch.tensor(p, dtype=torch.float64), block**2))
    falls = torch.zeros(height, width, dtype=torch.float64)
    for pattern in itertools.product((False, True), repeat=count):
        corners = torch.tensor(pattern).view(shape)
        blocks = _blocks(corners[None], block, 2)[0]
        assert torch.equal(blocks, covered(corners, height, width, block))
        drawn = sum(pattern)
        falls += blocks.double() * (rate**drawn * (1 - rate) ** (count - drawn))
    torch.testing.assert_close(falls, torch.full_like(falls, p), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("p", "block"), [(0.01, 7), (0.1, 7), (0.3, 3)])
def test_every_unit_falls_at_the_rate_asked_for(p, block):
    n, size = 100_000, (3, 4)
    y = drop_block(torch.ones(n, 1, *size), p, block_size=block, seed=0)
    share = (y == 0).double().mean(0)
    error = math.sqrt(p * (1 - p) / n)
    assert float((share - p).abs().max()) < 5 * error


def test_the_rate_of_corners_is_finer_than_the_masks_grid():
    """A rate between two of the grid's, which the nearer one would miss by 3 in 100."""
    rate, n = 13.44 / 65536, 4_000_000
    drawn = _draw([n], torch.tensor(rate, dtype=torch.float64), torch.tensor(7), 0)
    coarse = _draw([n], torch.tensor(0.37 / 65536, dtype=torch.float64), torch.tensor(7), 0)
    for found, expected in ((drawn, rate), (coarse, 0.37 / 65536)):
        error = math.sqrt(expected / n)
        assert abs(float(found.double().mean()) - expected) < 4 * error


def test_what_falls_is_made_of_whole_blocks():
    block, size = 3, 9
    y = drop_block(torch.ones(200, 1, size, size), 0.3, block_size=block, seed=4)
    fallen = (y == 0)[:, 0]
    # Outside of the map a block may lie anywhere.
    padded = torch.ones(200, size + 2 * block - 2, size + 2 * block - 2, dtype=torch.bool)
    padded[:, block - 1 : -block + 1, block - 1 : -block + 1] = fallen
    places = range(size + block - 1)
    explained = torch.zeros_like(padded)
    for i, j in itertools.product(places, places):
        whole = padded[:, i : i + block, j : j + block].flatten(1).all(1)
        explained[whole, i : i + block, j : j + block] = True
    assert torch.equal(explained[:, block - 1 : -block + 1, block - 1 : -block + 1], fallen)
    assert 0.2 < float(fallen.double().mean()) < 0.4


def test_blocks_of_neighbouring_samples_and_channels_are_apart():
    y = drop_block(torch.ones(20_000, 2, 3, 3), 0.3, block_size=3, seed=2)
    fallen = (y[:, :, 1, 1] == 0).double()
    both = float((fallen[:, 0] * fallen[:, 1]).mean())
    error = math.sqrt(0.09 * 0.91 / len(fallen))
    assert abs(both - 0.09) < 5 * error
    # Within a block's reach they are not: P(both) = 1 − 2(1 − p) + (1 − γ)^(b² + b).
    side = (y[:, :, 1, 2] == 0).double()
    near = 1 - 2 * 0.7 + 0.7 ** (12 / 9)
    found = float((fallen * side).mean())
    assert abs(found - near) < 5 * math.sqrt(near * (1 - near) / fallen.numel())


def test_the_extremes():
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(drop_block(x, 0.0, block_size=3), x)
    assert torch.equal(drop_block(x, 1.0, block_size=3), torch.zeros_like(x))
    assert drop_block(x, 0.5, False, block_size=3) is x


def test_compiled_equals_eager_and_exports():
    for model, x in ((DropBlock2d(0.3, 3), torch.rand(2, 3, 5, 6)),):
        torch.manual_seed(5)
        expected = model(x)
        assert 0 < int((expected == 0).sum()) < expected.numel()
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.manual_seed(5)
        assert torch.equal(compiled(x), expected)
        program = torch.export.export(nn.Sequential(model).eval(), (x,))
        assert torch.equal(program.module()(x), x)


def test_the_rate_changes_without_compiling_again():
    torch._dynamo.reset()
    layer, x = DropBlock2d(0.0, 3), torch.rand(2, 3, 5, 6)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for p in (0.0, 0.3, 1.0):
            layer.p = p
            torch.manual_seed(5)
            expected = layer(x)
            torch.manual_seed(5)
            assert torch.equal(compiled(x), expected)


def test_an_own_generator_decides():
    x = torch.ones(2, 3, 8, 8)
    draws = [
        drop_block(x, 0.3, block_size=2, generator=torch.Generator().manual_seed(s))
        for s in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_refuses_what_it_cannot_do():
    for size in (0, -1, 2.0):
        with pytest.raises(ValueError, match="block_size must be an int, 1 or more"):
            DropBlock2d(0.1, size)
    with pytest.raises(ValueError, match=r"must be \(N, C, H, W\), .*got shape \(5, 4\)"):
        DropBlock2d()(torch.ones(5, 4))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        drop_block(torch.ones(1, 2, 2), 1.5, block_size=2)
    with pytest.raises(TypeError, match=r"must be of a floating type, got torch\.int64"):
        drop_block(torch.ones(1, 2, 2, dtype=torch.long), block_size=2)
    with pytest.raises(ValueError, match="not both"):
        drop_block(torch.ones(1, 2, 2), seed=1, block_size=2, generator=torch.Generator())


def test_shows_and_converts():
    assert repr(DropBlock2d.from_keep_prob(0.75, 5)) == "DropBlock2d(p=0.25, block_size=5)"

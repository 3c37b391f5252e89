"""Channels fall whole and independently, batched or not."""

import math

import pytest
import torch
from torch import nn

from dropkit.noise._channel_dropout import Dropout1d, Dropout2d, Dropout3d, channel_dropout
from dropkit.random import keep_mask
from dropkit.testing import check_noise

LAYERS = [(Dropout1d, (3,)), (Dropout2d, (3, 2)), (Dropout3d, (2, 3, 2))]


@pytest.mark.parametrize(("layer", "size"), LAYERS)
@pytest.mark.parametrize("batch", [(4,), ()])
def test_keeps_the_contract(layer, size, batch):
    check_noise(layer(0.3), shape=(*batch, 5, *size), calls=1000)


@pytest.mark.parametrize(("layer", "size"), LAYERS)
def test_one_mask_value_a_channel_of_every_sample(layer, size):
    x = torch.rand(6, 5, *size, dtype=torch.float64) + 1
    y = channel_dropout(x, 0.5, spatial_dims=layer.spatial_dims, seed=3)
    keep = keep_mask((6, 5), 0.5, seed=3).view(6, 5, *(1 for _ in size))
    assert 0 < int(keep.sum()) < 30
    assert torch.equal(y, torch.where(keep, 2 * x, 0.0))


def test_channels_are_independent():
    """Every one of the 2³ masks of a sample comes as often as the product of its rates says."""
    p, n = 0.3, 40_000
    y = channel_dropout(torch.ones(n, 3, 2), p, spatial_dims=1, seed=1)
    code = (y[..., 0] > 0).long() @ torch.tensor([1, 2, 4])
    for mask in range(8):
        kept = mask.bit_count()
        expected = (1 - p) ** kept * p ** (3 - kept)
        error = math.sqrt(expected * (1 - expected) / n)
        assert abs(float((code == mask).double().mean()) - expected) < 5 * error


def test_three_dimensions_are_one_image():
    x = torch.ones(50, 4, 4)
    y = Dropout2d(0.5)(x)
    per_channel = y.flatten(1)
    assert bool((per_channel == per_channel[:, :1]).all())
    assert set(per_channel[:, 0].tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("shape", [(50, 4), (50, 4, 6), (50, 4, 3, 2), (50, 4, 3, 2, 2)])
def test_a_batch_of_any_number_of_dimensions(shape):
    check_noise(Dropout2d(0.3, batched=True), shape=(6, *shape[1:]), calls=500)
    per_channel = Dropout2d(0.5, batched=True)(torch.ones(shape)).reshape(50, 4, -1)
    assert torch.equal(per_channel, per_channel[..., :1].expand_as(per_channel))
    assert set(per_channel.flatten().tolist()) == {0.0, 2.0}
    assert len({tuple(row) for row in per_channel[..., 0].tolist()}) > 8


def test_a_batch_has_two_dimensions():
    layer = Dropout2d(0.5, batched=True)
    assert repr(layer) == "Dropout2d(p=0.5, batched=True)"
    with pytest.raises(ValueError, match=r"x must be \(N, C, …\), got shape \(4,\)"):
        layer(torch.ones(4))


@pytest.mark.parametrize(("layer", "size"), LAYERS)
def test_refuses_another_number_of_dimensions(layer, size):
    for shape in (size, (2, 3, 4, *size)):
        with pytest.raises(ValueError, match=r"must be \(N, C, .*got shape"):
            layer()(torch.ones(shape))


@pytest.mark.parametrize(("layer", "size"), LAYERS)
def test_compiled_equals_eager_and_exports(layer, size):
    model = layer(0.5)
    x = torch.rand(4, 5, *size)
    torch.manual_seed(5)
    expected = model(x)
    torch.manual_seed(5)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), expected)
    program = torch.export.export(nn.Sequential(model).eval(), (x,))
    assert torch.equal(program.module()(x), x)


def test_of_the_papers_keep_probability():
    assert repr(Dropout2d.from_keep_prob(0.75)) == "Dropout2d(p=0.25)"

"""The ways of averaging agree where theory says so and differ where it says by how much."""

from itertools import product

import pytest
import torch
from torch import nn

from dropkit.noise import Dropout
from dropkit.prediction._averaging import (
    ARITHMETIC,
    GEOMETRIC,
    WEIGHT_SCALING,
    compare_averaging,
    mean_network,
)
from dropkit.scaling import to_classic

P = 0.25
X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 0, 1])
MASKS = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
WEIGHTS = (P ** (1 - MASKS) * (1 - P) ** MASKS).prod(1)


def linear(outputs=3):
    torch.manual_seed(0)
    net = nn.Sequential(Dropout(P), nn.Linear(6, outputs)).double()
    net[1].weight.data *= 4
    return net


def over_masks(model):
    """The outputs after every mask, ``(masks, examples, …)``."""
    with torch.no_grad():
        return model[1](X * MASKS[:, None] / (1 - P))


@pytest.mark.parametrize("layer", [nn.Dropout, Dropout])
def test_mean_network_is_the_same_in_both_conventions(layer):
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), layer(0.3), nn.Linear(8, 2)).double().train()
    classic = to_classic(net)
    expected = net[3](net[1](net[0](X)))
    assert torch.equal(mean_network(net)(X), expected)
    torch.testing.assert_close(mean_network(classic)(X), expected)
    assert net.training
    assert classic.training


def test_ways_are_those_of_all_masks():
    samples = 20_000
    found = compare_averaging(linear(), X, Y, samples, seed=0)
    logits = over_masks(linear())
    p = logits.softmax(-1)

    def mean(values):
        return torch.einsum("m,mnc->nc", WEIGHTS, values)

    error = (mean((p - mean(p)) ** 2) / samples).sqrt()
    assert ((found.predictions[ARITHMETIC] - mean(p)).abs() < 4.5 * error).all()
    geometric = mean(p.log()).softmax(-1)
    centred = logits - mean(logits)
    covariance = torch.einsum("m,mnc,mnd->ncd", WEIGHTS, centred, centred) / samples
    slope = torch.diag_embed(geometric) - geometric[:, :, None] * geometric[:, None, :]
    error = (slope @ covariance @ slope).diagonal(dim1=1, dim2=2).sqrt()
    assert ((found.predictions[GEOMETRIC] - geometric).abs() < 4.5 * error).all()
    # These bounds tell the two means apart.
    assert ((mean(p) - geometric).abs() > 9 * error).any()
    # For a linear network and softmax, weight scaling is the geometric mean exactly.
    torch.testing.assert_close(found.predictions[WEIGHT_SCALING], geometric)


def test_losses_are_of_the_predictions():
    found = compare_averaging(linear(), X, Y, 50, seed=0)
    for way, prediction in found.predictions.items():
        expected = -prediction[range(5), Y].log()
        torch.testing.assert_close(found.loss[way], expected)
    difference = found.loss[WEIGHT_SCALING] - found.loss[GEOMETRIC]
    mean, error = found.excess_loss(GEOMETRIC)
    assert mean == pytest.approx(difference.mean().item())
    assert error == pytest.approx(difference.std().item() / 5**0.5)
    for way, loss in found.loss.items():
        assert f"{way:<16} {loss.mean().item():.6f}" in str(found)


def test_the_input_is_left_as_it_was():
    model = nn.Sequential(nn.ELU(inplace=True), nn.Dropout(0.5), nn.Linear(4, 3))
    x = torch.randn(5, 4)
    before = x.clone()
    compare_averaging(model, x, Y, 20, seed=0)
    assert torch.equal(x, before)


def test_both_means_are_over_the_same_masks():
    # With two samples the arithmetic mean tells which they were, up to their order.
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 2)).double()
    x = torch.ones(50, 1, dtype=torch.float64)
    found = compare_averaging(model, x, torch.zeros(50, dtype=torch.long), 2, seed=0)
    pairs = {
        (round(a, 9), round(g, 9))
        for a, g in zip(
            found.predictions[ARITHMETIC][:, 0].tolist(),
            found.predictions[GEOMETRIC][:, 0].tolist(),
            strict=True,
        )
    }
    # Both dropped, one of two, none.
    assert len(pairs) == len({geometric for _, geometric in pairs}) == 3


class Square(nn.Module):
    def forward(self, x):
        return x**2


def test_inadequate_weight_scaling_is_found_and_its_price():
    # E (x m)² = x² / (1 − p): squares see the variance of the noise, weight scaling does not.
    model = nn.Sequential(Dropout(P), Square())
    x = torch.randn(500, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = x**2 / (1 - P)
    found = compare_averaging(model, x, y, 2000, task="regression", seed=0)
    price = (x**2 * P / (1 - P)).pow(2).squeeze(1)
    torch.testing.assert_close(found.loss[WEIGHT_SCALING], price)
    mean, error = found.excess_loss()
    assert abs(mean - price.mean().item()) < 4.5 * error
    assert not found.weight_scaling_is_adequate(price.mean().item() / 2)
    assert found.weight_scaling_is_adequate(price.mean().item() * 2)
    # A margin within the interval is not yet a proof.
    assert not found.weight_scaling_is_adequate(mean + 1.9 * error)
    assert found.weight_scaling_is_adequate(mean + 2.0 * error)
    assert found.weight_scaling_is_adequate(mean + 1.7 * error, level=0.9)


@pytest.mark.parametrize(
    ("x", "y", "task", "message"),
    [
        (X[:1], Y[:1], "classification", "two examples or more"),
        (X, torch.zeros(5), "regression", "shape of the output"),
    ],
)
def test_errors_say_what_must_hold(x, y, task, message):
    with pytest.raises(ValueError, match=message):
        compare_averaging(linear(1), x, y, task=task)

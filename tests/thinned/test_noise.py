"""The noise of gradients: against all masks in float64, and what is chosen by it."""

import copy
import math
from itertools import combinations

import pytest
import torch
from torch import nn

from dropkit.thinned import GradientNoise, choose_groups, gradient_noise, thin
from helpers.masked_net import double

UNITS, ROWS = 4, 4


@pytest.fixture
def net():
    return double(nn.Linear(3, UNITS), nn.Tanh(), nn.Dropout(0.5), nn.Linear(UNITS, 2))


@pytest.fixture
def batches():
    return list(torch.randn(3, ROWS, 3, generator=torch.Generator().manual_seed(2)).double())


def loss(model, x):
    return model(x).square().mean()


def gradient(net, x, masks):
    """The gradient under the given factor of each unit in each row."""
    first, _, _, last = net
    out = last(torch.tanh(first(x)) * masks)
    return torch.cat(
        [g.reshape(-1) for g in torch.autograd.grad(out.square().mean(), [*net.parameters()])]
    )


def truth(by_batch):
    """The three numbers from the gradients under each equally likely draw of masks."""
    means = torch.stack([draws.mean(0) for draws in by_batch])
    masks = sum((d - d.mean(0)).square().sum(1).mean() for d in by_batch) / len(by_batch)
    rows = (means - means.mean(0)).square().sum() / (len(means) - 1)
    return masks, rows, means.mean(0).square().sum() - rows / len(means)


def factors(kept):
    return torch.zeros(UNITS).double().index_fill(0, torch.tensor(kept), 2.0)


def other(kept):
    return [unit for unit in range(UNITS) if unit not in kept]


SETS = [list(kept) for kept in combinations(range(UNITS), UNITS // 2)]


def one_mask(net, x):
    return torch.stack([gradient(net, x, factors(kept).expand(ROWS, -1)) for kept in SETS])


def two_groups(net, x):
    """The second half of the rows keeps what the first half drops."""
    halves = [(factors(kept), factors(other(kept))) for kept in SETS]
    masks = [torch.stack([a] * (ROWS // 2) + [b] * (ROWS // 2)) for a, b in halves]
    return torch.stack([gradient(net, x, mask) for mask in masks])


def two_passes(net, x):
    """The second pass keeps what the first one drops."""
    draws = one_mask(net, x)
    return (draws + draws.flip(0)) / 2  # the sets are listed so that complements mirror


def each_row(net, x):
    """Independent masks of ordinary dropout: every unit of every row."""
    bits = torch.arange(2 ** (UNITS * ROWS))[:, None] >> torch.arange(UNITS * ROWS) & 1
    masks = 2.0 * bits.view(-1, ROWS, UNITS).double()
    parameters = dict(net.named_parameters())

    def value(p, mask):
        hidden = torch.tanh(x @ p["0.weight"].t() + p["0.bias"]) * mask
        return (hidden @ p["3.weight"].t() + p["3.bias"]).square().mean()

    grads = torch.func.vmap(torch.func.grad(value), (None, 0))(parameters, masks)
    return torch.cat([g.flatten(1) for g in grads.values()], 1)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize(
    ("groups", "passes", "draws_of"),
    [(1, 1, one_mask), (2, 1, two_groups), (1, 2, two_passes), (0, 1, each_row)],
)
def test_against_all_masks(net, batches, groups, passes, draws_of):
    assert [other(kept) for kept in SETS] == SETS[::-1]
    masks, rows, signal = truth([draws_of(net, x) for x in batches])
    expected = torch.stack([passes * masks, rows, signal])
    model = thin(net, groups)[0] if groups else net
    torch.manual_seed(3)
    found = torch.tensor([
        [n.masks, n.rows, n.signal]
        for n in (gradient_noise(model, batches, loss, draws=2, passes=passes) for _ in range(300))
    ]).double()  # fmt: skip
    error = found.std(0) / math.sqrt(len(found))
    assert bool(((found.mean(0) - expected).abs() < 4.5 * error).all()), (found.mean(0), expected)


def test_the_model_stays_as_it_is(batches):
    net = double(nn.Linear(3, UNITS), nn.BatchNorm1d(UNITS), nn.Dropout(0.5), nn.Linear(UNITS, 2))
    before = copy.deepcopy(net.state_dict())
    gradient_noise(net, batches, loss)
    choose_groups(net, batches, loss, candidates=(1, 2))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())
    thin(net)  # was not thinned itself


def test_parameters_without_a_gradient(net, batches):
    net[3].requires_grad_(False)
    assert gradient_noise(net, batches, loss).masks > 0
    net.register_parameter("unused", nn.Parameter(torch.zeros(2)))
    assert gradient_noise(net, batches, loss).masks > 0


def test_the_cheapest_is_chosen(net, batches, monkeypatch):
    def costs(model, *_, **__):
        plain = "forward" not in model[2].__dict__
        groups = 0 if plain else model[2].forward.units.groups
        return GradientNoise(*{0: (1, 1, 1, 4), 1: (9, 1, 1, 1), 4: (2, 1, 1, 2)}[groups])

    monkeypatch.setattr("dropkit.thinned._noise.gradient_noise", costs)
    groups, found = choose_groups(net, batches, loss, candidates=(1, 4))
    assert groups == 4
    assert {g: noise.cost for g, noise in found.items()} == {0: 12, 1: 11, 4: 8}
    assert choose_groups(net, batches, loss, candidates=(1,))[0] == 1
    assert choose_groups(net, batches, loss, candidates=())[0] == 0


def test_what_is_refused(net, batches):
    with pytest.raises(ValueError, match="at least two mini-batches, got 1"):
        gradient_noise(net, batches[:1], loss)
    with pytest.raises(ValueError, match="draws must be at least 2"):
        gradient_noise(net, batches, loss, draws=1)
    with pytest.raises(ValueError, match="passes at least 1"):
        gradient_noise(net, batches, loss, passes=0)
    with pytest.raises(ValueError, match="training mode"):
        gradient_noise(net.eval(), batches, loss)

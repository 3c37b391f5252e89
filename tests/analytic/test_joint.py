"""Outputs that vary together: exact where it says so, near where it says so, and loud elsewhere."""

import itertools
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from dropkit.analytic import Gaussian, Joint, class_probabilities, joint, moments
from dropkit.noise import Dropout, GaussianDropout
from dropkit.prediction._sampling import sampling


def normal(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def over_all_masks(layers, places, x, p):
    """Mean and covariance of the outputs over all masks of the places, given with their units."""
    outputs, chances = [], []
    for kept in itertools.product([0.0, 1.0], repeat=sum(places.values())):
        parts = torch.tensor(kept, dtype=torch.float64).div(1 - p).split(list(places.values()))
        masks = dict(zip(places, parts, strict=True))
        y = x
        for number, layer in enumerate(layers):
            y = y * masks[number] if number in masks else layer(y)
        outputs.append(y.detach())
        chances.append(math.prod(1 - p if k else p for k in kept))
    chance, y = torch.tensor(chances, dtype=torch.float64), torch.stack(outputs)
    mean = torch.tensordot(chance, y, 1)
    return mean, torch.einsum("s,sni,snj->nij", chance, y - mean, y - mean)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_linear_networks_are_exact(p):
    """Two dropouts with a linear layer between: its units share inputs, and are correlated."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Dropout(p), nn.Linear(4, 5), Dropout(p), nn.Linear(5, 3), nn.Linear(3, 4)
    ).double()
    x = normal(2, 4)
    mean, covariance = over_all_masks(net, {0: 4, 2: 5}, x, p)
    found = joint(moments(net), x)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.covariance, covariance)
    torch.testing.assert_close(found.variance, covariance.diagonal(dim1=1, dim2=2))
    if p:  # as long as the twin's own variance is not, this test shows something
        assert not torch.allclose(moments(net)(x).variance, found.variance, rtol=0.01)


def test_the_leading_ones_are_a_part_of_all():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 7)).double()
    x = normal(5, 6)
    every, some = joint(moments(net), x), joint(moments(net), x, leading=3)
    torch.testing.assert_close(some.leading, every.mean.topk(3).indices)
    for row, chosen in enumerate(some.leading):
        part = every.covariance[row][chosen][:, chosen]
        torch.testing.assert_close(some.covariance[row], part)
    others = torch.ones(5, 7, dtype=torch.bool).scatter(1, some.leading, False)
    independent = moments(net)(x).variance
    torch.testing.assert_close(some.variance[others], independent[others].detach())


def deep():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Dropout(0.2), nn.Linear(64, 200), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(200, 200), nn.GELU(),
        GaussianDropout(0.5), nn.Linear(200, 10),
    )  # fmt: skip


def test_a_trained_network_against_samples():
    """Training makes units agree; then the twin's variance falls short, and not the joint one."""
    images, labels = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
    x, net, count = images.float() / 16, deep(), 1000
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(12):
        for rows in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), labels[rows]).backward()
            optimizer.step()
    x = x[:100]
    with torch.no_grad():
        with sampling(net):
            samples = torch.stack([net(x) for _ in range(count)])
        twin = moments(net)(x)
    found, sampled = joint(moments(net), x), samples.var(0)
    assert (twin.variance / sampled).median() < 0.75
    assert 0.9 < (found.variance / sampled).median() < 1.05
    apart = samples - samples.mean(0)
    covariance = torch.einsum("sni,snj->nij", apart, apart) / (count - 1)
    off = (found.covariance - covariance).flatten(1).norm(dim=1)
    assert (off / covariance.flatten(1).norm(dim=1)).median() < 0.15

    probabilities = samples.softmax(-1)
    error = (probabilities.var(0) / 50).mean().sqrt()  # of fifty samples

    def distance(logits):
        apart = class_probabilities(logits).mean - probabilities.mean(0)
        return apart.square().mean().sqrt()

    assert distance(found) < 0.8 * error < error < distance(twin)
    assert distance(found) < distance(joint(moments(net), x, leading=3)) < distance(twin)


def test_slopes_are_those_of_the_means():
    """By hand for two layers: the slope of E relu(s) by the mean of s is Φ(m/s)."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(5, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
    ).double()  # fmt: skip
    x, (_, first, _, _, last) = normal(4, 5), net
    hidden = moments(net[:2])(x)
    rectified = moments(net[:3])(x)
    with torch.no_grad():
        above = torch.special.ndtr(hidden.mean / hidden.variance.sqrt())
        inner = last.weight * above.unsqueeze(1) @ first.weight
        early = (inner * (0.25 * x.square()).unsqueeze(1)) @ inner.mT
        noise = rectified.mean.square() + rectified.variance
        late = (last.weight * noise.unsqueeze(1)) @ last.weight.mT
    torch.testing.assert_close(joint(moments(net), x).covariance, early + late)


class Residual(nn.Module):
    """With a function of dropout, convolutions, a sum of units that share their noise."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = F.dropout(x, 0.3, self.training)
        x = self.first(x)
        x = x + self.second(x)
        return self.last(F.avg_pool2d(x, 4).flatten(1))


def test_overlapping_windows_and_residual_sums_are_exact_where_all_is_linear():
    torch.manual_seed(0)
    net = Residual().double().eval()
    x = normal(2, 1, 4, 4)
    outputs = torch.autograd.functional.jacobian(net, x)  # (rows, outputs, rows, 1, 4, 4)
    slopes = torch.stack([outputs[n, :, n].flatten(1) for n in range(2)])
    noise = 0.3 / 0.7 * x.flatten(1).square()
    exact = (slopes * noise.unsqueeze(1)) @ slopes.mT
    torch.testing.assert_close(joint(moments(net), x).covariance, exact)


def test_one_place_after_another_counts_twice():
    net = nn.Sequential(nn.Dropout(0.5), Dropout(0.5), nn.Linear(3, 2)).double()
    x = normal(2, 3)
    mean, covariance = over_all_masks(net, {0: 3, 1: 3}, x, 0.5)
    found = joint(moments(net), x)
    torch.testing.assert_close((found.mean, found.covariance), (mean, covariance))


class Around(nn.Module):
    """Units that are used with noise and without."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + self.drop(x))


def test_units_used_elsewhere_too_have_their_noise_once():
    torch.manual_seed(0)
    net = Around().double()
    x = normal(2, 3)
    _, covariance = over_all_masks([net.drop, net.last], {0: 3}, net.first(x).detach(), 0.5)
    torch.testing.assert_close(joint(moments(net), x).covariance, covariance)


def test_rate_one_leaves_nothing():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 4), nn.Dropout(1.0), nn.Linear(4, 2))
    found = joint(moments(net), torch.randn(3, 3))
    assert not found.covariance.any()
    assert not found.variance.any()


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_it_leaves_gradients_alone(around):
    net = deep()
    with around():
        x = torch.randn(3, 64)
        found = joint(moments(net), x, leading=2)
    assert not any(part.requires_grad for part in found)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not x.requires_grad


class Mixed(nn.Module):
    """Rows that lose their place, which for two rows of two units no shape shows."""

    def __init__(self, units):
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(units, 2)

    def forward(self, x):
        return self.last(self.drop(x).transpose(0, 1))


class Centred(nn.Module):
    """Adds up the rows, which the sum of its outputs does not show."""

    def __init__(self):
        super().__init__()
        self.drop, self.last = nn.Dropout(0.5), nn.Linear(4, 3)

    def forward(self, x):
        h = self.last(self.drop(x))
        h = h + h.sum(0, keepdim=True)
        return h - h.mean(1, keepdim=True)


def test_rows_must_stay_apart():
    folded = nn.Sequential(Dropout(0.5), nn.Unflatten(1, (2, 2)), nn.Flatten(0, 1))
    for net, x, why in (
        (Centred(), torch.randn(2, 4), "noise of this row, and rows must be the first"),
        (Mixed(2), torch.randn(2, 2), "noise of this row, and rows must be the first"),
        (Mixed(4), torch.randn(4, 2), "on two rows of the input the model fails: mat1"),
        (folded, torch.randn(3, 4), r"must be \(rows, outputs\), got \(4, 2\) for 2 rows"),
    ):
        with pytest.raises(ValueError, match=why):
            joint(moments(net), x)


def test_what_must_hold():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 4))
    for leading in (0, 5, -1):
        with pytest.raises(ValueError, match=f"from 1 to the 4 outputs, got {leading}"):
            joint(moments(net), torch.randn(2, 3), leading=leading)
    with pytest.raises(ValueError, match=r"\(rows, outputs\)"):
        joint(moments(net), torch.randn(2, 5, 3))
    one = joint(moments(nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1))), torch.randn(2, 3))
    with pytest.raises(ValueError, match="two classes"):
        class_probabilities(one)


def test_a_single_row_and_none():
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 4))
    x = torch.randn(2, 3)
    both, one = joint(moments(net), x), joint(moments(net), x[:1])
    torch.testing.assert_close(one.covariance, both.covariance[:1])
    assert joint(moments(net), x[:0], leading=2).covariance.shape == (0, 2, 2)


def spread(classes, rows=16, width=3.0, rank=None):
    root = normal(rows, classes, rank or classes, seed=classes) * width / math.sqrt(classes)
    return normal(rows, classes, seed=1) * 2, root @ root.mT, root


@pytest.mark.parametrize(("classes", "rank"), [(2, 2), (3, 3), (10, 10), (10, 2)])
def test_softmax_of_correlated_logits_against_samples(classes, rank):
    mean, covariance, root = spread(classes, rank=rank)
    total = torch.zeros(len(mean), classes, dtype=torch.float64)
    squares, count = total.clone(), 40_000
    for seed in range(20):
        noise = normal(count // 20, len(mean), rank, 1, seed=seed + 2)
        sample = (mean + (root @ noise).squeeze(-1)).softmax(-1)
        total, squares = total + sample.sum(0), squares + sample.square().sum(0)
    order = torch.arange(classes).flip(0).expand(len(mean), -1)  # leading in any order
    flipped = covariance.flip(1, 2)
    found = class_probabilities(Joint(mean, covariance.diagonal(dim1=1, dim2=2), order, flipped))
    assert (found.mean - total / count).abs().max() < 0.03
    assert (found.mean - total / count).square().mean().sqrt() < 0.008
    sampled = squares / count - (total / count).square()
    assert (found.variance - sampled).abs().max() < 0.03
    torch.testing.assert_close(found.mean.sum(1), torch.ones_like(mean[:, 0]))


def test_independent_logits_come_out_as_before():
    """Two ways to the same expectation, for any number of leading classes."""
    mean, variance = normal(32, 7), normal(32, 7, seed=1).square()
    alone = class_probabilities(Gaussian(mean, variance))
    for leading in range(1, 8):
        first = mean.topk(leading).indices
        covariance = torch.diag_embed(variance.gather(1, first))
        found = class_probabilities(Joint(mean, variance, first, covariance))
        torch.testing.assert_close(found.mean.sum(1), torch.ones_like(mean[:, 0]))
        near = 0.02 if leading == 7 else 0.07
        torch.testing.assert_close(found.mean, alone.mean, atol=near, rtol=0)


def test_without_variance_it_is_the_softmax():
    mean, nothing = normal(4, 5), torch.zeros(4, 5, dtype=torch.float64)
    first = mean.topk(2).indices
    found = class_probabilities(Joint(mean, nothing, first, nothing.new_zeros(4, 2, 2)))
    torch.testing.assert_close(found.mean, mean.softmax(1))
    torch.testing.assert_close(found.variance, nothing)

"""Each rule against numerical integration, or all masks, in float64."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from dropkit.analytic import _rules
from dropkit.analytic._moments import moments
from dropkit.analytic._rules import Gaussian, activations, cross_entropy, softmax
from dropkit.analytic._rules.activations import maximum

MEANS = torch.cat([torch.linspace(-12, 12, 49), torch.tensor([-60.0, 60.0])]).double()
DEVIATIONS = (1e-3, 0.1, 0.3, 0.49, 0.5, 0.7, 0.99, 1.0, 1.5, 3.0, 8.0, 30.0)
GRID = torch.linspace(-13, 13, 26_001, dtype=torch.float64)
WEIGHTS = torch.exp(-0.5 * GRID**2) / torch.exp(-0.5 * GRID**2).sum()


def integrated(f, mean, s):
    """Riemann sums, whose error for these functions is below 1e-6 of the variance."""
    values = f(mean[:, None] + s * GRID)
    first = values @ WEIGHTS
    return first, (values - first[:, None]).square() @ WEIGHTS


@pytest.mark.parametrize("s", DEVIATIONS)
@pytest.mark.parametrize(
    ("name", "f", "allowed"),
    [
        ("relu", F.relu, 1e-7),
        ("gelu", F.gelu, 1e-6),
        ("sigmoid", torch.sigmoid, 2e-5),
        ("tanh", torch.tanh, 8e-5),
    ],
)
def test_activations_against_integration(name, f, allowed, s):
    mean, variance = getattr(activations, name)(Gaussian(MEANS, torch.full_like(MEANS, s * s)))
    first, second = integrated(f, MEANS, s)
    # What the sum on the grid misses at a kink grows with the scale.
    assert (mean - first).abs().max() < allowed * max(1, s)
    assert (variance - second).abs().max() < allowed * max(1, s * s)


@pytest.mark.parametrize("s", DEVIATIONS)
def test_mean_of_softplus_and_tanh_form_of_gelu(s):
    x = Gaussian(MEANS, torch.full_like(MEANS, s * s))
    first, _ = integrated(F.softplus, MEANS, s)
    assert (activations.softplus_mean(x) - first).abs().max() < 1e-4
    first, second = integrated(lambda t: F.gelu(t, approximate="tanh"), MEANS, s)
    mean, variance = activations.gelu(x, "tanh")
    assert (mean - first).abs().max() < 1e-3
    assert (variance - second).abs().max() < 1e-3 * max(1, s)


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "tanh"])
def test_single_precision_keeps_a_small_variance(name):
    m = torch.tensor([-1.0, 0.3, 2.0])
    narrow = Gaussian(m, torch.full_like(m, 1e-6))
    exact = getattr(activations, name)(Gaussian(*(t.double() for t in narrow)))
    found = getattr(activations, name)(narrow)
    torch.testing.assert_close(found.variance.double(), exact.variance, rtol=1e-2, atol=1e-12)
    assert found.variance.dtype == torch.float32


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "tanh"])
def test_without_variance_it_is_the_function_and_its_gradient(name):
    m = torch.linspace(-4, 4, 8, requires_grad=True)
    v = torch.zeros_like(m, requires_grad=True)
    f = getattr(torch, name, None) or getattr(F, name)
    mean, variance = getattr(activations, name)(Gaussian(m, v))
    assert torch.equal(mean, f(m))
    assert not variance.any()
    by_mean, by_variance = torch.autograd.grad(mean.sum() + variance.sum(), (m, v))
    torch.testing.assert_close(by_mean, torch.autograd.grad(f(m).sum(), m)[0])
    assert by_variance.isfinite().all()


@pytest.mark.parametrize("name", ["relu", "gelu", "sigmoid", "tanh"])
def test_gradients_of_activations(name):
    m = torch.tensor([-3.0, -0.4, 0.0, 1.3, 30.0], dtype=torch.float64, requires_grad=True)
    v = torch.tensor([0.1, 2.0, 0.6, 9.0, 1.5], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, v: tuple(getattr(activations, name)(Gaussian(m, v))), (m, v)
    )


def test_gradients_survive_any_scale():
    scales = torch.tensor([0.0, 1e-38, 1e-20, 1e-6, 1.0, 1e6, 1e15])
    m, v = (
        t.flatten().clone().requires_grad_() for t in torch.meshgrid(scales, scales, indexing="ij")
    )
    for name in ("relu", "gelu", "sigmoid", "tanh"):
        for x in (Gaussian(m, v), Gaussian(-m, v)):
            outputs = getattr(activations, name)(x)
            found = torch.autograd.grad(sum(t.sum() for t in outputs), (m, v))
            assert all(t.isfinite().all() for t in (*outputs, *found)), name
    outputs = maximum(Gaussian(m, v), Gaussian(m.flip(0), v))
    found = torch.autograd.grad(sum(t.sum() for t in outputs), (m, v))
    assert all(t.isfinite().all() for t in (*outputs, *found))


def test_maximum_of_two():
    m = torch.tensor([-1.0, 0.0, 0.5, 3.0, 40.0], dtype=torch.float64)
    v, w = torch.tensor([0.5, 2.0, 0.0, 1.0, 1.0]).double(), torch.tensor(0.7).double()
    mean, variance = maximum(Gaussian(m, v), Gaussian(torch.zeros_like(m), w.expand_as(m)))
    a = m[:, None] + v.sqrt()[:, None] * GRID[::20]
    b = w.sqrt() * GRID[::20]
    largest = torch.maximum(a[:, :, None], b[None, None])
    chance = WEIGHTS[::20] / WEIGHTS[::20].sum()
    first = torch.einsum("mab,a,b->m", largest, chance, chance)
    second = torch.einsum("mab,a,b->m", (largest - first[:, None, None]).square(), chance, chance)
    torch.testing.assert_close(mean, first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(variance, second, rtol=1e-4, atol=1e-4)
    other = maximum(Gaussian(torch.zeros_like(m), w.expand_as(m)), Gaussian(m, v))
    torch.testing.assert_close(other, Gaussian(mean, variance))


@pytest.mark.parametrize("s", [0.3, 1.0, 2.0, 5.0])
def test_two_classes_are_the_logistic_case(s):
    m = MEANS[::5]
    logits = Gaussian(torch.stack([torch.zeros_like(m), m], 1), torch.tensor([[0.36, 0.64]]) * s**2)
    logits = Gaussian(logits.mean, logits.variance.expand_as(logits.mean))
    first, second = integrated(torch.sigmoid, m, s)
    mean, variance = softmax(logits)
    assert (mean[:, 1] - first).abs().max() < 2e-5
    assert (variance - second[:, None]).abs().max() < 2e-5
    loss, _ = integrated(lambda t: F.softplus(-t), m, s)
    target = torch.ones(len(m), dtype=torch.long)
    assert (cross_entropy(logits, target) - loss).abs().max() < 1e-4


@pytest.mark.parametrize("classes", [3, 4, 5, 10])
def test_more_classes_against_samples(classes):
    torch.manual_seed(classes)
    m = 2 * torch.randn(12, classes, dtype=torch.float64)
    v = 4 * torch.rand(12, classes, dtype=torch.float64)
    samples = (m + v.sqrt() * torch.randn(40_000, 12, classes, dtype=torch.float64)).softmax(2)
    mean, variance = softmax(Gaussian(m, v))
    assert (mean - samples.mean(0)).abs().max() < 0.02
    assert (variance - samples.var(0)).abs().max() < 0.02
    torch.testing.assert_close(mean.sum(1), torch.ones(12).double())
    target = torch.arange(12) % classes
    losses = -samples[:, torch.arange(12), target].log()
    error = losses.std(0) / math.sqrt(len(losses))
    assert ((cross_entropy(Gaussian(m, v), target) - losses.mean(0)).abs() < 0.06 + 4 * error).all()


def test_softmax_without_variance_and_along_another_dimension():
    m = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros_like(m)
    torch.testing.assert_close(softmax(Gaussian(m, zero), 1).mean, m.softmax(1))
    rows, target = m[..., 0].requires_grad_(), torch.tensor([0, 2, 1, 0])
    loss = cross_entropy(Gaussian(rows, zero[..., 0]), target)
    exact = F.cross_entropy(rows, target, reduction="none")
    torch.testing.assert_close(loss, exact)
    torch.testing.assert_close(
        torch.autograd.grad(loss.sum(), rows), torch.autograd.grad(exact.sum(), rows)
    )
    far = torch.tensor([[0.0, 1e4, -1e4]], requires_grad=True)
    lost = cross_entropy(Gaussian(far, torch.ones(1, 3)), torch.tensor([2]))
    (slope,) = torch.autograd.grad(lost.sum(), far)
    torch.testing.assert_close(slope, torch.tensor([[0.0, 1.0, -1.0]]))


def over_all_masks(model, x, p):
    """Mean and variance of ``model`` of one masked row, over all masks of its entries."""
    outputs, chances = [], []
    for kept in itertools.product([0.0, 1.0], repeat=x.numel()):
        mask = torch.tensor(kept, dtype=torch.float64).view(x.shape)
        chances.append(math.prod(1 - p if k else p for k in kept))
        outputs.append(model(x * mask / (1 - p)))
    chance = torch.tensor(chances, dtype=torch.float64)
    mean = torch.tensordot(chance, torch.stack(outputs), 1)
    return Gaussian(mean, torch.tensordot(chance, (torch.stack(outputs) - mean).square(), 1))


class Call(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, x):
        return self.f(x)


LINEAR = {
    "linear": (nn.Linear(6, 3), (1, 6)),
    "conv1d": (nn.Conv1d(2, 3, 2, stride=2, padding=1, bias=False), (1, 2, 4)),
    "conv2d": (nn.Conv2d(2, 4, 2, groups=2, dilation=(1, 2)), (1, 2, 2, 3)),
    "conv3d": (nn.Conv3d(1, 2, (1, 1, 3), padding="same"), (1, 1, 2, 2, 2)),
    "unbatched conv": (nn.Conv2d(1, 2, 2), (1, 3, 3)),
    "batch norm": (nn.BatchNorm1d(4), (2, 4)),
    "batch norm without weights": (nn.BatchNorm2d(2, affine=False), (1, 2, 2, 2)),
    "average 1d": (nn.AvgPool1d(3, 2, 1, ceil_mode=True), (1, 2, 4)),
    "average 2d": (nn.AvgPool2d(2, 2, 1, count_include_pad=False), (1, 1, 3, 3)),
    "average 2d with a divisor": (nn.AvgPool2d(2, 1, divisor_override=3), (1, 1, 3, 3)),
    "average 3d": (nn.AvgPool3d((1, 2, 2), 1), (1, 1, 2, 2, 2)),
    "adaptive 1d": (nn.AdaptiveAvgPool1d(3), (1, 2, 5)),
    "adaptive 2d": (nn.AdaptiveAvgPool2d((2, None)), (1, 1, 3, 3)),
    "adaptive 3d": (nn.AdaptiveAvgPool3d(1), (1, 1, 2, 2, 2)),
    "mean": (Call(lambda x: x.mean((-2, -1), keepdim=True)), (2, 2, 2)),
    "sum": (Call(lambda x: torch.sum(x, 1)), (2, 4)),
    "scaled and shifted": (Call(lambda x: 1 - (3 * x - 2) / 4), (8,)),
    "moved": (Call(lambda x: torch.cat([x.flatten(1), -x[:, 0]], 1).T.reshape(4, -1)), (2, 2, 2)),
    "added": (Call(lambda x: torch.add(x[:, :2], x[:, 2:], alpha=0.5) - x[:, 1:3] * 0), (2, 4)),
    "broadcast": (Call(lambda x: x + torch.ones(3, 1, 1).double()), (2, 4)),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_rules_are_exact_over_all_masks(name):
    torch.manual_seed(0)
    layer, shape = LINEAR[name]
    layer = layer.double().eval()
    for buffer, value in layer.named_buffers():
        if buffer.startswith("running"):
            value.data.uniform_(0.5, 2)
    for parameter in layer.parameters():
        parameter.data.normal_()
    x, p = torch.randn(shape, dtype=torch.float64), 0.3
    expected = over_all_masks(layer, x, p)
    found = moments(nn.Sequential(nn.Dropout(p), layer))(x)
    torch.testing.assert_close(found, expected)
    assert expected.variance.max() > 0


@pytest.mark.parametrize(
    ("pool", "shape", "inexact", "short"),
    [  # by how much of a standard deviation the mean may be off, and how short the variance be
        (nn.MaxPool1d(2), (40, 3, 8), 0, 0),
        (nn.MaxPool1d(3, 2, 1, ceil_mode=True), (20, 3, 8), 0.05, 0.3),
        (nn.MaxPool2d(2), (10, 3, 6, 6), 0.05, 0.3),
        (nn.MaxPool2d(3, 2, 1), (4, 3, 7, 7), 0.08, 0.5),
        (nn.MaxPool2d((2, 3), 1, dilation=(2, 1)), (4, 3, 6, 6), 0.06, 0.4),
        (nn.MaxPool3d(2, ceil_mode=True), (2, 2, 3, 4, 5), 0.1, 0.5),
    ],
)
def test_max_pooling_against_samples(pool, shape, inexact, short):
    torch.manual_seed(0)
    m, v = torch.randn(shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    samples = torch.stack([pool(m + v.sqrt() * torch.randn_like(m)) for _ in range(4000)])
    mean, variance = _rules.LAYERS[type(pool)](pool, Gaussian(m, v))
    assert mean.shape == samples.shape[1:]
    apart = samples - samples.mean(0)
    spread, fourth = apart.square().mean(0), apart.pow(4).mean(0)
    error = 5 * (spread / 4000).sqrt()
    assert ((mean - samples.mean(0)).abs() < error + inexact * spread.sqrt()).all()
    error = 5 * ((fourth - spread**2) / 4000).sqrt()
    assert (variance < spread + error).all()
    assert (variance > spread * (1 - short) - error).all()


def test_max_pooling_without_variance_is_max_pooling():
    x = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    pool = nn.MaxPool2d(3, 2, 1)
    mean, variance = moments(nn.Sequential(nn.Dropout(0.0), pool))(x)
    assert torch.equal(mean, pool(x))
    assert not variance.any()


class Subnormals(TorchDispatchMode):
    """Names the operations whose results have numbers too small for a normal float."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in tree_flatten(result)[0]:
            if isinstance(x, torch.Tensor) and x.is_floating_point():
                small = x.detach().abs()
                if bool(((small > 0) & (small < torch.finfo(x.dtype).tiny)).any()):
                    self.found.add(str(func))
        return result


@pytest.mark.parametrize("rule", [activations.relu, activations.gelu, activations.sigmoid])
def test_no_subnormal_numbers(rule):
    """Products of them are a hundred times as slow."""
    m, v = torch.meshgrid(torch.linspace(-30, 30, 241), torch.logspace(-3, 2, 60), indexing="ij")
    x = Gaussian(m.clone().requires_grad_(), v.clone().requires_grad_())
    with Subnormals() as mode:
        mean, variance = rule(x)
        ((mean.sum() + variance.sum()) * 1e-10).backward()
    assert mode.found == set()

"""All masks in one pass are the loop over the masks."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise._dropout import dropout
from dropkit.noise._multi_sample_dropout import MultiSampleDropout
from dropkit.prediction._sampling import sampling
from dropkit.random import draw_seed, keep_mask


def masks(seed, shape, p):
    """The noise that the layer draws after ``manual_seed(seed)``."""
    torch.manual_seed(seed)
    return keep_mask(shape, p, seed=draw_seed()).double() / (1 - p)


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)])
@pytest.mark.parametrize("samples", [1, 6])
def test_one_pass_is_the_loop_under_the_same_masks(shape, samples):
    head = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 3)).double()
    layer = MultiSampleDropout(head, 0.5, samples=samples)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    noise = masks(3, (samples, *shape), 0.5)
    expected = torch.stack([head(x * mask) for mask in noise])
    parameters = (x, *head.parameters())

    torch.manual_seed(3)
    torch.testing.assert_close(layer.outputs(x), expected, rtol=1e-13, atol=1e-13)
    torch.manual_seed(3)
    y = layer(x)
    torch.testing.assert_close(y, expected.mean(0), rtol=1e-13, atol=1e-13)
    found = torch.autograd.grad(y.square().sum(), parameters, retain_graph=True)
    wanted = torch.autograd.grad(expected.mean(0).square().sum(), parameters, retain_graph=True)
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss_is_the_mean_of_the_losses(reduction):
    head = nn.Linear(4, 3).double()
    layer = MultiSampleDropout(head, 0.5, samples=6)
    criterion = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]).double(), reduction=reduction)
    x, target = torch.randn(5, 4).double(), torch.tensor([0, 2, 1, 1, -100])
    losses = [criterion(head(x * mask), target) for mask in masks(3, (6, 5, 4), 0.5)]
    torch.manual_seed(3)
    found = layer.loss(x, target, criterion)
    torch.testing.assert_close(found, torch.stack(losses).mean(0), rtol=1e-13, atol=1e-13)
    assert torch.equal(layer.eval().loss(x, target, criterion), criterion(head(x), target))


def test_mean_and_variance_of_a_linear_head():
    """Against the sum over all the masks; the mean over M of them has an M-th of the variance."""
    p, samples, rows = 0.3, 4, 20_000
    head = nn.Linear(3, 1, dtype=torch.float64).requires_grad_(False)
    x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    mean = second = 0.0
    for mask in itertools.product((0, 1), repeat=3):
        y = float(head(x * torch.tensor(mask) / (1 - p)))
        chance = (1 - p) ** sum(mask) * p ** (3 - sum(mask))
        mean += chance * y
        second += chance * y * y
    single = second - mean**2
    layer = MultiSampleDropout(head, p, samples=samples)

    def check(variance):
        y = layer(x.expand(rows, 3)).flatten()
        assert abs(float(y.mean()) - mean) < 5 * math.sqrt(variance / rows)
        error = float((y - y.mean()).square().std()) / math.sqrt(rows)
        assert abs(float(y.var()) - variance) < 5 * error

    check(single / samples)
    layer.eval()
    with sampling(layer) as switches:  # Monte-Carlo prediction is about single masks
        assert switches.switched_on == ("drop",)
        assert layer.outputs(x[None]).shape == (1, 1, 1)
        check(single)


def test_evaluation_is_the_head():
    head = nn.Linear(4, 3)
    layer, x = MultiSampleDropout(head, 0.5).eval(), torch.randn(5, 4)
    state = torch.get_rng_state()
    assert torch.equal(layer(x), head(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert list(layer.state_dict()) == ["head.weight", "head.bias"]


def test_rate_zero_rate_one_and_empty_input():
    head = nn.Linear(4, 3)
    x = torch.randn(5, 4)
    torch.testing.assert_close(MultiSampleDropout(head, 0.0)(x), head(x))
    x[0] = torch.inf
    y = MultiSampleDropout(head, 1.0)(x)
    torch.testing.assert_close(y, head.bias.expand(5, 3))
    assert MultiSampleDropout(head, 0.5)(x[:0]).shape == (0, 3)


def test_what_lies_before_the_head_runs_once():
    x = torch.randn(5, 4, requires_grad=True)
    hidden = dropout(x, 0.2)
    MultiSampleDropout(nn.Linear(4, 3), 0.5)(hidden).sum().backward()
    assert bool((x.grad[hidden == 0] == 0).all())


def test_compiled_equals_eager_and_exports():
    layer, x = MultiSampleDropout(nn.Linear(4, 3), 0.5, samples=4), torch.randn(5, 4)
    target = torch.arange(5) % 3

    def loss(x):
        return layer.loss(x, target, F.cross_entropy)

    for run in (layer, loss):
        torch._dynamo.reset()
        compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
        for p in (0.5, 0.2):
            layer.drop.p = p
            torch.manual_seed(0)
            expected = run(x)
            torch.manual_seed(0)
            torch.testing.assert_close(compiled(x), expected)
    program = torch.export.export(layer.eval(), (x,))
    torch.testing.assert_close(program.module()(x), layer(x))
    assert not any("dropkit" in str(node.target) for node in program.graph.nodes)


def test_copies_draw_the_same():
    layer, x = MultiSampleDropout(nn.Linear(4, 3), 0.5), torch.randn(5, 4)
    results = []
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(4)
        results.append(twin(x))
    assert all(torch.equal(y, results[0]) for y in results)


def test_refuses_no_samples():
    for samples in (0, 2.5):
        with pytest.raises(ValueError, match=f"samples must be an int, 1 or more, got {samples}"):
            MultiSampleDropout(nn.Linear(4, 3), samples=samples)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        MultiSampleDropout(nn.Linear(4, 3), 1.5)

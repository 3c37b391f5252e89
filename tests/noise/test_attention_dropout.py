"""Attention weights fall in training, and in training alone."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch.nn import functional as F

from dropkit.noise._attention_dropout import AttentionDropout, scaled_dot_product_attention
from dropkit.prediction._sampling import sampling
from dropkit.random import keep_mask

BOOL = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]]).bool()
ADDED = torch.tensor([[0.5, -1.0, 0.0, 2.0, -math.inf]]).double().expand(3, 5)
CASES = [
    {},
    {"attn_mask": BOOL},
    {"attn_mask": ADDED},
    {"is_causal": True},
    {"scale": 0.3},
]


def inputs(dtype=torch.float64):
    torch.manual_seed(1)
    shapes = (2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 6)
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("case", CASES)
def test_rate_zero_is_the_attention_of_torch(case):
    q, k, v = inputs()
    y = scaled_dot_product_attention(q, k, v, p=0.0, **case)
    expected = F.scaled_dot_product_attention(q, k, v, **case)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(y.square().sum(), (q, k, v))
    torch.testing.assert_close(
        found, torch.autograd.grad(expected.square().sum(), (q, k, v)), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("case", CASES)
def test_drops_the_weights_that_the_mask_shows(case):
    q, k, v = inputs()
    y = scaled_dot_product_attention(q, k, v, p=0.25, seed=3, **case)
    # Attending over the identity gives the weights themselves.
    one = torch.eye(5, dtype=torch.float64).expand(2, 2, 5, 5)
    weights = F.scaled_dot_product_attention(q, k, one, **case)
    keep = keep_mask((2, 2, 3, 5), 0.25, seed=3)
    torch.testing.assert_close(y, weights * keep / 0.75 @ v, rtol=1e-12, atol=1e-12)


def test_mean_and_variance():
    """Against the sum over all the masks of a query's weights."""
    p, calls = 0.3, 20_000
    q, k, v = torch.randn(1, 2), torch.randn(4, 2), torch.randn(4, 1)
    q, k, v = q.double(), k.double(), v.double()
    weights = (q @ k.T / math.sqrt(2)).softmax(-1)[0]
    mean = second = 0.0
    for mask in itertools.product((0, 1), repeat=4):
        y = float((weights * torch.tensor(mask) / (1 - p)) @ v[:, 0])
        chance = (1 - p) ** sum(mask) * p ** (4 - sum(mask))
        mean += chance * y
        second += chance * y * y
    variance = second - mean**2
    assert math.isclose(mean, float(F.scaled_dot_product_attention(q, k, v)), rel_tol=1e-12)
    assert math.isclose(variance, p / (1 - p) * float((weights * v[:, 0]).square().sum()))
    layer = AttentionDropout(p)
    q, k, v = (x.expand(calls, *x.shape) for x in (q, k, v))
    y = layer(q, k, v).flatten()
    assert abs(float(y.mean()) - mean) < 5 * math.sqrt(variance / calls)
    error = float((y - y.mean()).square().std()) / math.sqrt(calls)
    assert abs(float(y.var()) - variance) < 5 * error


def test_evaluation_does_not_drop():
    q, k, v = inputs()
    expected = F.scaled_dot_product_attention(q, k, v, BOOL)
    state = torch.get_rng_state()
    assert torch.equal(AttentionDropout(0.5).eval()(q, k, v, BOOL), expected)
    assert torch.equal(scaled_dot_product_attention(q, k, v, BOOL, 0.5, False), expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["bool", "number"])
@pytest.mark.parametrize("training", [True, False])
def test_a_query_that_may_look_nowhere_gets_zeros(kind, training):
    q, k, v = inputs()
    mask = BOOL.clone()
    mask[1] = False
    if kind == "number":
        mask = torch.zeros(3, 5, dtype=torch.float64).masked_fill(~mask, -math.inf)
    y = scaled_dot_product_attention(q, k, v, mask, 0.25, training)
    assert bool((y[:, :, 1] == 0).all())
    assert bool((y[:, :, 0] != 0).any())
    gradients = torch.autograd.grad(y.square().sum(), (q, k, v))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("training", [True, False])
def test_groups_of_heads(training):
    """Heads 0 and 1 of the query share the first head of keys and values, 2 and 3 the second."""
    _, k, v = inputs()
    q = torch.randn(2, 4, 3, 4, dtype=torch.float64)
    y = scaled_dot_product_attention(q, k, v, p=0.25, training=training, enable_gqa=True, seed=3)
    k, v = (x[:, [0, 0, 1, 1]] for x in (k, v))
    expected = scaled_dot_product_attention(q, k, v, p=0.25, training=training, seed=3)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)


def test_rate_one_and_empty_input():
    q, k, v = inputs()
    layer = AttentionDropout(1.0)
    y = layer(q, k, v)
    assert torch.equal(y, torch.zeros(2, 2, 3, 6, dtype=torch.float64))
    gradients = torch.autograd.grad(y.sum(), (q, k, v))
    assert all(bool((gradient == 0).all()) for gradient in gradients)
    layer = AttentionDropout(0.5)
    assert layer(q[:0], k[:0], v[:0]).shape == (0, 2, 3, 6)
    assert layer(q[..., :0, :], k, v).shape == (2, 2, 0, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision(dtype):
    q, k, v = (x.detach() for x in inputs())
    for mask in (None, BOOL, ADDED.to(dtype)):
        y = scaled_dot_product_attention(*(x.to(dtype) for x in (q, k, v)), mask, 0.25, seed=3)
        exact = mask if mask is None or mask is BOOL else mask.double()
        expected = scaled_dot_product_attention(q, k, v, exact, 0.25, seed=3)
        assert y.dtype is dtype
        slack = 16 * torch.finfo(dtype).eps  # a handful of roundings of numbers of a few units
        torch.testing.assert_close(y.double(), expected, rtol=slack, atol=slack)


def test_scores_that_overflow_before_their_scale():
    q = torch.full((1, 1, 64), 100.0, dtype=torch.float16)
    y = scaled_dot_product_attention(q, q, q, p=0.0, scale=1e-4)
    assert torch.equal(y, q)


def test_compiled_equals_eager_and_exports():
    layer, (q, k, v) = AttentionDropout(0.5), inputs(torch.float32)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for p in (0.5, 0.2):
        layer.drop.p = p
        results = []
        for run in (layer, compiled):
            torch.manual_seed(0)
            y = run(q, k, v, BOOL)
            results.append((y, *torch.autograd.grad(y.square().sum(), (q, k, v))))
        torch.testing.assert_close(*results)
    program = torch.export.export(layer.eval(), (q, k, v))
    assert torch.equal(program.module()(q, k, v), layer(q, k, v))
    assert not any("dropkit" in str(node.target) for node in program.graph.nodes)


def test_seeds_copies_and_sampling():
    q, k, v = inputs()
    layer = AttentionDropout(0.5)
    results = []
    for twin in (layer, layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(4)
        results.append(twin(q, k, v))
    assert all(torch.equal(y, results[0]) for y in results)
    with sampling(layer.eval()):
        assert not torch.equal(layer(q, k, v), layer(q, k, v))
    assert torch.equal(layer(q, k, v), layer(q, k, v))


def test_refuses_two_masks():
    q, k, v = inputs()
    for training in (True, False):
        with pytest.raises(ValueError, match="give attn_mask or is_causal, not both"):
            AttentionDropout(0.1).train(training)(q, k, v, BOOL, is_causal=True)
        with pytest.raises(ValueError, match="give attn_mask or is_causal, not both"):
            scaled_dot_product_attention(q, k, v, BOOL, 0.1, training, is_causal=True)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        AttentionDropout(1.5)

"""Each unit is kept at its own rate, and evaluation is the mean over all the masks."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise._standout import Standout, standout
from dropkit.random import keep_mask

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def test_masks_are_independent_with_the_rates_stated():
    """The frequency of all the masks of three units, and the mean over them."""
    n, alpha, beta = 100_000, 1.5, -0.3
    a = torch.tensor([-1.0, 0.4, 2.0], dtype=torch.float64)
    q = torch.sigmoid(alpha * a + beta)
    y = standout(a.expand(n, 3), torch.exp, alpha, beta, seed=5)
    code = (y != 0).long() @ torch.tensor([1, 2, 4])
    mean = torch.zeros(3, dtype=torch.float64)
    for mask in itertools.product((0, 1), repeat=3):
        m = torch.tensor(mask)
        chance = float(torch.where(m == 1, q, 1 - q).prod())
        share = float((code == int(m @ torch.tensor([1, 2, 4]))).double().mean())
        assert abs(share - chance) < 5 * math.sqrt(chance * (1 - chance) / n)
        mean += chance * a.exp() * m
    assert torch.equal(y, torch.where(y != 0, a.exp().expand(n, 3), 0.0))
    evaluated = standout(a, torch.exp, alpha, beta, False)
    torch.testing.assert_close(evaluated, mean, rtol=1e-12, atol=0)


def test_at_alpha_zero_the_mask_is_that_of_dropout():
    a = torch.randn(200, 300)
    for p in (0.25, 0.5, 0.75):
        keep = keep_mask((200, 300), p, seed=9)
        y = standout(a, torch.exp, 0.0, math.log((1 - p) / p), seed=9)
        differ = (y != 0) != keep
        # The rate through two logarithms may be a rounding off, which shows at one word in 65,536.
        assert int(differ.sum()) <= 10


@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes(dtype):
    a = torch.randn(4, 50).to(dtype)
    a[0, 0], a[0, 1] = torch.inf, -torch.inf
    always, never = Standout(nn.Identity(), beta=200.0), Standout(nn.Identity(), beta=-200.0)
    assert torch.equal(always(a)[1:], a[1:])
    assert not bool(never(a)[1:].any())
    torch.testing.assert_close(always.eval()(a)[1:], a[1:])
    assert float(never.eval()(a)[1:].abs().max()) < 1e-30
    for layer in (Standout(nn.Identity()), Standout(), Standout(nn.Identity(), alpha=-1.0)):
        for training in (True, False):
            y = layer.train(training)(a)
            assert y.dtype == dtype
            assert not bool(y.isnan().any())
            assert layer(a[:0]).shape == (0, 50)


def test_without_an_activation_evaluation_is_silu():
    a = torch.randn(100, dtype=torch.float64)
    torch.testing.assert_close(Standout(nn.Identity()).eval()(a), F.silu(a))


def test_gradients_pass_the_kept_units_alone():
    a = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    y = standout(a, torch.tanh, seed=1)
    y.sum().backward()
    expected = torch.where(y == 0, 0.0, 1 - a.tanh().square())
    assert 0 < int((y == 0).sum()) < 30
    torch.testing.assert_close(a.grad, expected)
    assert torch.autograd.gradcheck(lambda a: standout(a, torch.tanh, training=False), a)


def test_memory_does_not_matter():
    a = torch.randn(7, 5)
    expected = standout(a, seed=2)
    assert torch.equal(standout(a.T.contiguous().T, seed=2), expected)
    assert torch.equal(standout(torch.stack([a, a], -1)[..., 0], seed=2), expected)


@pytest.mark.parametrize("training", [True, False])
def test_compiled_equals_eager_and_exports(training):
    model = nn.Sequential(nn.Linear(4, 30), Standout(nn.Tanh(), 0.7, 0.2)).train(training)
    x = torch.randn(5, 4)

    def draw(model):
        torch.manual_seed(5)
        return model(x)

    expected = draw(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(draw(twin), expected)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(draw(compiled), expected)
    state = torch.get_rng_state()
    program = torch.export.export(model.eval(), (x,))
    torch.testing.assert_close(program.module()(x), model(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert not any("draw_seed" in str(node.target) for node in program.graph.nodes)


def test_checkpoints_are_those_without_it():
    plain = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    nn.Sequential(nn.Linear(4, 3), Standout()).load_state_dict(plain.state_dict(), strict=True)


def test_an_own_generator_decides():
    a = torch.randn(10, 10)
    draws = [standout(a, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_refuses_what_it_cannot_do():
    for alpha, beta in ((math.nan, 0.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match="alpha and beta must be finite"):
            Standout(alpha=alpha, beta=beta)
        with pytest.raises(ValueError, match="alpha and beta must be finite"):
            standout(torch.ones(2), alpha=alpha, beta=beta)
    with pytest.raises(TypeError, match=r"a must be of a floating type, got torch\.int64"):
        standout(torch.ones(2, dtype=torch.int64))


def test_shows_itself():
    assert "alpha=2, beta=0.5" in repr(Standout(alpha=2.0, beta=0.5))

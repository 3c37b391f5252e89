"""Units of the state stay as they were at the rate asked for; evaluation takes the mean."""

import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.noise._zoneout import Zoneout, zoneout
from dropkit.random import keep_mask

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def test_the_mask_is_the_engines():
    new, old = torch.randn(2, 6, 5)
    keep = keep_mask((6, 5), 0.5, seed=3)
    assert 0 < int(keep.sum()) < 30
    assert torch.equal(zoneout(new, old, 0.5, seed=3), torch.where(keep, new, old))


def test_units_are_independent_and_evaluation_is_the_mean():
    p, n = 0.3, 40_000
    new, old = torch.tensor([1.0, -2.0, 3.0]).double(), torch.tensor([0.5, 0.0, -1.0]).double()
    y = zoneout(new.expand(n, 3), old.expand(n, 3), p, seed=1)
    code = (y == new).long() @ torch.tensor([1, 2, 4])
    for mask in range(8):
        taken = mask.bit_count()
        expected = (1 - p) ** taken * p ** (3 - taken)
        error = math.sqrt(expected * (1 - expected) / n)
        assert abs(float((code == mask).double().mean()) - expected) < 5 * error
    mean = Zoneout(p).eval()(new, old)
    assert bool(((y.mean(0) - mean).abs() < 5 * y.std(0) / math.sqrt(n)).all())
    torch.testing.assert_close(mean, p * old + (1 - p) * new, rtol=1e-15, atol=0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_extremes(dtype):
    new, old = torch.randn(2, 4, 5).to(dtype)
    new[0, 0], old[1, 1] = torch.inf, -torch.inf
    assert torch.equal(Zoneout(0.0)(new, old), new)
    assert torch.equal(Zoneout(1.0)(new, old), old)
    y = Zoneout(0.5)(new, old)
    assert y.dtype == dtype
    assert not bool(y.isnan().any())
    assert Zoneout(0.5).eval()(new, old).dtype == dtype
    assert Zoneout(0.5)(new[:0], old[:0]).shape == (0, 5)


def test_gradients_go_where_the_state_came_from():
    new, old = torch.randn(2, 4, 5, dtype=torch.float64).unbind()
    new, old = new.requires_grad_(), old.requires_grad_()
    assert torch.autograd.gradcheck(lambda n, o: zoneout(n, o, 0.4, seed=1), (new, old))
    assert torch.autograd.gradcheck(lambda n, o: zoneout(n, o, 0.4, False), (new, old))


@pytest.mark.parametrize("training", [True, False])
def test_compiled_equals_eager_and_takes_new_rates(training):
    layer = Zoneout(0.5).train(training)
    new, old = torch.randn(2, 4, 5)

    def draw(layer):
        torch.manual_seed(5)
        return layer(new, old)

    expected = draw(layer)
    assert torch.equal(draw(pickle.loads(pickle.dumps(layer))), expected)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(draw(compiled), expected)
    with torch._dynamo.config.patch(error_on_recompile=True):
        layer.p = 0.9
        torch.testing.assert_close(draw(compiled), draw(layer))
        assert not torch.equal(draw(layer), expected)


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.keep = nn.GRUCell(3, 5), Zoneout(0.3)

    def forward(self, x):
        h = x.new_zeros(x.shape[1], 5)
        for step in x.unbind(0):
            h = self.keep(self.cell(step, h), h)
        return h


def test_in_a_loop_over_time():
    model, x = Loop(), torch.randn(6, 4, 3)
    model(x).sum().backward()
    assert all(bool(w.grad.isfinite().all()) for w in model.parameters())
    program = torch.export.export(model.eval(), (x,))
    torch.testing.assert_close(program.module()(x), model(x))


def test_refuses_states_that_do_not_match():
    with pytest.raises(ValueError, match=r"the same shape and dtype, got \(2,\), .* and \(3,\)"):
        Zoneout()(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="the same shape and dtype"):
        Zoneout()(torch.ones(2), torch.ones(2).double())
    for training in (True, False):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            zoneout(torch.ones(2), torch.ones(2), 1.5, training)

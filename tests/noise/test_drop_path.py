"""Branches fall for whole samples, and the subset form is the masked form with less work."""

import math

import pytest
import torch
from torch import nn

from dropkit.noise._drop_path import DropPath, StochasticDepth, drop_path
from dropkit.random import keep_mask
from dropkit.testing import check_noise


class Counting(nn.Module):
    """A branch for each sample alone that counts the samples it sees."""

    def __init__(self, features=4):
        super().__init__()
        self.linear = nn.Linear(features, features)
        self.seen = 0

    def forward(self, x):
        self.seen += len(x)
        return torch.tanh(self.linear(x))


@pytest.mark.parametrize("shape", [(8, 3), (6, 2, 3, 2)])
def test_keeps_the_contract(shape):
    check_noise(DropPath(0.3), shape=shape)


def test_one_mask_value_a_sample():
    x = torch.rand(40, 3, 2, dtype=torch.float64) + 1
    keep = keep_mask(40, 0.5, seed=2)
    assert 0 < int(keep.sum()) < 40
    expected = torch.where(keep[:, None, None], 2 * x, 0.0)
    assert torch.equal(drop_path(x, 0.5, seed=2), expected)


def test_samples_are_independent():
    p, n = 0.3, 40_000
    torch.manual_seed(0)
    layer = DropPath(p)
    code = torch.stack([(layer(torch.ones(3)) > 0).long() for _ in range(n // 10)])
    code = code @ torch.tensor([1, 2, 4])
    for mask in range(8):
        kept = mask.bit_count()
        expected = (1 - p) ** kept * p ** (3 - kept)
        error = math.sqrt(expected * (1 - expected) / len(code))
        assert abs(float((code == mask).double().mean()) - expected) < 5 * error


@pytest.mark.parametrize("p", [0.0, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(7, 4), (5, 3, 4)])
@pytest.mark.parametrize("seed", range(4))
def test_the_subset_form_is_the_masked_form(p, shape, seed):
    block = StochasticDepth(Counting(), p).double()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    inputs = (x, *block.parameters())

    torch.manual_seed(seed)
    y = block(x)
    found = torch.autograd.grad(y.square().sum(), inputs)
    torch.manual_seed(seed)
    masked = x + block.drop(block.branch(x))
    expected = torch.autograd.grad(masked.square().sum(), inputs)

    torch.testing.assert_close(y, masked, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_only_kept_samples_run():
    block = StochasticDepth(Counting(), 0.75)
    x = torch.randn(64, 4)
    torch.manual_seed(1)
    keep = block.drop(torch.ones(64)) > 0
    torch.manual_seed(1)
    block(x)
    assert block.branch.seen == int(keep.sum())
    assert 0 < block.branch.seen < 40


def test_all_samples_run_in_evaluation():
    block = StochasticDepth(Counting(), 0.75).eval()
    x = torch.randn(64, 4)
    assert torch.equal(block(x), x + block.branch(x))


def test_a_block_dropped_whole_still_has_gradients():
    block = StochasticDepth(Counting(), 1.0)
    x = torch.full((3, 4), torch.inf)
    block(torch.randn(3, 4)).sum().backward()
    assert all(float(w.grad.abs().max()) == 0.0 for w in block.parameters())
    assert torch.equal(block(x), x)
    assert block(torch.ones(0, 4)).shape == (0, 4)


def test_batch_norm_sees_the_kept_samples():
    block = StochasticDepth(nn.BatchNorm1d(4, momentum=1.0), 0.5)
    x = torch.randn(32, 4)
    torch.manual_seed(3)
    keep = block.drop(torch.ones(32)) > 0
    torch.manual_seed(3)
    block(x)
    assert 2 < int(keep.sum()) < 32
    torch.testing.assert_close(block.branch.running_mean, x[keep].mean(0))


def test_low_precision_is_the_masked_form_too():
    branch = nn.Linear(4, 4)
    block = StochasticDepth(branch, 0.3)
    x = torch.randn(9, 4)
    for run in (x.bfloat16(), x):
        with torch.autocast("cpu", torch.bfloat16):
            torch.manual_seed(0)
            y = block(run)
            torch.manual_seed(0)
            masked = run + block.drop(branch(run))
        assert y.dtype == masked.dtype
        assert torch.equal(y, masked)


def test_compiled_equals_eager_and_exports():
    for model in (DropPath(0.5), StochasticDepth(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), 0.5)):
        x = torch.randn(16, 4)
        torch.manual_seed(5)
        expected = model(x)
        torch.manual_seed(5)
        compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), expected, rtol=1e-6, atol=1e-6)
        program = torch.export.export(nn.Sequential(model).eval(), (x,))
        torch.testing.assert_close(program.module()(x), model(x))


def test_refuses_what_has_no_samples_and_a_branch_of_another_shape():
    with pytest.raises(ValueError, match="got a scalar"):
        DropPath()(torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"must keep the shape of its input, \(3, 4\), got"):
        StochasticDepth(nn.Linear(4, 1), 0.0)(torch.ones(3, 4))


def test_samples_of_a_vmap_keep_their_own_branches():
    torch.manual_seed(0)
    block = StochasticDepth(nn.Linear(4, 4, bias=False), 0.5)
    x = torch.ones(64, 8, 4)
    y = torch.func.vmap(block, randomness="different")(x)
    branch = block.branch(x)
    kept = torch.isclose(y, x + 2 * branch).all(-1)
    assert (kept | torch.isclose(y, x).all(-1)).all()
    assert 0.4 < kept.double().mean() < 0.6  # 4.5 standard errors of 512 are 0.1
    assert len(torch.unique(kept.int(), dim=0)) > 1

"""The choice of units: balanced, uniform, the same from kernel and torch, the same again."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from dropkit.thinned import _choice, thin
from dropkit.thinned._choice import Choice


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("size", "groups"), [(1, 1), (5, 3), (64, 2), (627, 4)])
@pytest.mark.parametrize("rank", [0, 3, 2**33 + 1])
def test_the_kernel_chooses_as_defined(size, groups, rank):
    ours, truth = np.zeros(size, np.int64), np.zeros(size, np.int64)
    for seed in (0, 7, 2**63 - 2, 11):
        keep = seed % size + 1
        chosen = _choice.choose(ours, keep, groups, seed, rank)
        assert torch.equal(chosen, _choice.reference(truth, keep, groups, seed, rank))
        assert np.array_equal(ours, truth)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("size", "keep"), [(6, 3), (10, 7), (10, 3), (9, 8), (4, 4)])
def test_units_are_kept_equally_often(size, keep):
    torch.manual_seed(1)
    choice, total = Choice(size), torch.zeros(size, dtype=torch.int64)
    for groups in (1, 3, 2, 1, 1, 4):
        for chosen in choice.draw(keep, groups):
            assert bool((chosen[1:] > chosen[:-1]).all())
            total[chosen] += 1
            assert total.max() - total.min() <= 1


def test_half_of_the_units_are_made_up_for_by_the_other_half():
    torch.manual_seed(1)
    first, second = Choice(8).draw(4, 2)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(8))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("before", [0, 1, 2])
def test_every_set_is_equally_likely_at_every_step(before):
    """Also where it has to make up for the sets before it, when these are not known."""
    torch.manual_seed(6)
    draws, sets = 6000, math.comb(5, 2)
    counts = torch.zeros(1 << 5, dtype=torch.float64)
    for _ in range(draws):
        choice = Choice(5)
        for _ in range(before):
            choice.draw(2, 1)
        counts[int((1 << choice.draw(2, 1)).sum())] += 1
    counts = counts[counts > 0]
    assert len(counts) == sets
    z = (counts - draws / sets) / math.sqrt(draws / sets * (1 - 1 / sets))
    assert z.abs().max() < 4.5


def test_the_same_seed_is_the_same_choice_again():
    choice = Choice(50)
    torch.manual_seed(3)
    first, second = choice.draw(25, 1), choice.draw(25, 1)
    torch.manual_seed(3)
    assert torch.equal(choice.draw(25, 1), first)
    assert torch.equal(choice.draw(25, 1), second)
    third = choice.draw(25, 1)
    assert not torch.equal(third, first)


def test_copies_begin_anew():
    choice = Choice(50)
    torch.manual_seed(3)
    first = choice.draw(25, 1)
    torch.manual_seed(3)
    assert torch.equal(copy.deepcopy(choice).draw(25, 1), first)
    torch.manual_seed(3)
    assert torch.equal(Choice(50).draw(25, 1), first)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_is_computed_again_keeps_the_same_units(reentrant):
    torch.manual_seed(4)
    net, _ = thin(nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 3)))
    twin = copy.deepcopy(net)
    x = torch.randn(8, 6, requires_grad=True)
    for step in range(3):
        gradients = []
        for model, again in ((net, False), (twin, True)):
            torch.manual_seed(step)
            y = checkpoint(model, x, use_reentrant=reentrant) if again else model(x)
            gradients.append(torch.autograd.grad(y.square().sum(), list(model.parameters()))
                             if not reentrant else _backward(model, y))  # fmt: skip
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b)


def _backward(model, y):
    model.zero_grad()
    y.square().sum().backward()
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.usefixtures("always")
def test_balance_cancels_what_masks_add_to_the_gradient():
    """Of a linear net, two steps with complementary halves give the whole net's output."""
    torch.manual_seed(5)
    net, _ = thin(nn.Sequential(nn.Linear(6, 20), nn.Dropout(0.5), nn.Linear(20, 3)).double())
    x = torch.randn(8, 6, dtype=torch.float64)
    net.train()
    mean = (net(x) + net(x)) / 2
    torch.testing.assert_close(mean, net.eval()(x))


def test_no_two_choices_share_a_number():
    numbers = [choice._place for choice in (Choice(3), copy.deepcopy(Choice(3)), Choice(4))]
    assert all(a != b for a, b in itertools.combinations(numbers, 2))

"""Compiled and exported programs: the same masks, no graph break, no second compilation."""

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.func import vmap
from torch.utils.checkpoint import checkpoint

from dropkit.functional import dropout
from dropkit.noise import Dropout, GaussianDropout
from dropkit.random import draw_seed
from dropkit.random._product import noise
from dropkit.random.philox import DEFINITION


@pytest.fixture(autouse=True)
def _forget_compiled_code():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled(function, **options):
    """Compile as far as the joint graph of forward and backward; Inductor has its own test."""
    return torch.compile(function, fullgraph=True, backend="aot_eager", **options)


def graphs():
    """How many graphs were compiled so far."""
    return counters["stats"]["unique_graphs"]


def outcome(function, x, seed=1):
    torch.manual_seed(seed)
    y = function(x)
    return y, torch.autograd.grad(y.sum(), x)[0]


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), Dropout(0.5), nn.ReLU(), GaussianDropout(0.3))


def test_inductor_draws_the_same_masks():
    eager, x = model(), torch.randn(32, 64, requires_grad=True)
    fast = torch.compile(eager, fullgraph=True)
    for p in (0.5, 0.2):
        eager[1].p = p
        y, dx = outcome(eager, x)
        z, dz = outcome(fast, x)
        assert torch.equal(y == 0, z == 0)
        assert torch.allclose(y, z, atol=1e-5)
        assert torch.allclose(dx, dz, atol=1e-4)


def test_a_changing_rate_compiles_once():
    eager, x = model(), torch.randn(32, 64, requires_grad=True)
    fast = compiled(eager)
    for p in (0.5, 0.3, 0.2, 0.1, 0.7, 0.05, 0.9, 0.33, 0.44, 0.0, 1.0):
        eager[1].p, eager[3].p = p, 0.9 * p
        y, dx = outcome(eager, x)
        z, dz = outcome(fast, x)
        assert torch.equal(y, z)
        assert torch.equal(dx, dz)
    assert graphs() == 1


def test_a_changing_rate_of_the_function_compiles_twice_at_most():
    fast = compiled(dropout)
    x = torch.ones(100)
    for p in (0.5, 0.3, 0.2, 0.1, 0.7):
        torch.manual_seed(1)
        expected = dropout(x, p)
        torch.manual_seed(1)
        assert torch.equal(fast(x, p), expected)
    assert graphs() <= 2


def test_a_changing_seed_does_not_compile_again():
    fast = compiled(lambda x, seed: dropout(x, seed=seed))
    x = torch.ones(100)
    for seed in (5, 3, 2**40):
        assert torch.equal(fast(x, torch.tensor(seed)), dropout(x, seed=seed))
    assert graphs() == 1


def test_a_changing_shape():
    fast = compiled(Dropout(0.5), dynamic=True)
    for n in (3, 5, 100, 1000):
        torch.manual_seed(0)
        expected = dropout(torch.ones(n, 4))
        torch.manual_seed(0)
        assert torch.equal(fast(torch.ones(n, 4)), expected)
    assert graphs() == 1


def test_each_call_draws_a_mask_of_its_own():
    layer = Dropout(0.5)
    fast = compiled(lambda x: (layer(x), layer(x)))
    first, second = fast(torch.ones(100))
    assert not torch.equal(first, second)
    third, _ = fast(torch.ones(100))
    assert not torch.equal(first, third)


def test_two_calls_on_one_tensor_draw_two_masks():
    """Compilers merge equal operations, and two draws for one tensor look equal."""

    def twice(x):
        return dropout(x, 0.5) + 10 * dropout(x, 0.5)

    assert outcome(twice, torch.ones(64, requires_grad=True))[0].unique().tolist() == [0, 2, 20, 22]
    x = torch.ones(64, requires_grad=True)
    for expected, found in zip(outcome(twice, x), outcome(compiled(twice), x), strict=True):
        assert torch.equal(expected, found)


def test_every_sample_of_a_compiled_vmap_draws_its_own():
    rows = vmap(lambda row: dropout(row, 0.5), randomness="different")
    x = torch.ones(4, 64, requires_grad=True)
    assert torch.equal(outcome(rows, x)[0], outcome(compiled(rows), x)[0])


def test_shared_dimensions():
    layer, x = Dropout(0.5, shared_dims=(-1, -2)), torch.randn(4, 3, 5, 5, requires_grad=True)
    fast = compiled(layer)
    for a, b in zip(outcome(layer, x), outcome(fast, x), strict=True):
        assert torch.equal(a, b)


def test_rate_changed_between_forward_and_backward():
    layer, x = Dropout(0.5), torch.ones(100, requires_grad=True)
    fast = compiled(layer)
    y = fast(x)
    layer.p = 0.1
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_a_rate_out_of_range_is_refused_when_the_program_runs():
    fast = compiled(dropout)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        fast(torch.ones(3), torch.tensor(1.5))


def test_checkpoint_recomputes_the_same_mask():
    eager, x = model(), torch.randn(8, 64, requires_grad=True)
    fast = compiled(lambda x: checkpoint(eager, x, use_reentrant=False))
    for a, b in zip(outcome(eager, x), outcome(fast, x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap(randomness):
    def f(x):
        return vmap(dropout, randomness=randomness)(x)

    fast = compiled(f)
    x = torch.ones(3, 50)
    torch.manual_seed(0)
    expected = f(x)
    torch.manual_seed(0)
    assert torch.equal(fast(x), expected)


def test_a_generator_is_refused_with_the_way_out():
    generator = torch.Generator().manual_seed(1)
    fast = compiled(lambda x: dropout(x, generator=generator))
    with pytest.raises(Exception, match=r"seed = draw_seed\(generator=generator\)"):
        fast(torch.ones(3))
    fast = compiled(lambda x, seed: dropout(x, seed=seed))
    seed = draw_seed(generator=generator)
    assert torch.equal(fast(torch.ones(50), seed), dropout(torch.ones(50), seed=seed))


def test_a_program_recorded_with_another_definition_is_refused():
    key = torch.tensor([0, noise(0.5, "bernoulli").packed])
    with pytest.raises(RuntimeError, match="definition 1 of dropkit's masks"):
        torch.ops.dropkit.multiply(torch.ones(3), key, "bernoulli", 0, [], 1)


def test_operators_keep_the_rules_of_the_library():
    x, seed = torch.randn(4, 6, requires_grad=True), torch.tensor(3)
    rate = torch.tensor(0.5, dtype=torch.float64)
    operators, own, cpu = torch.ops.dropkit, torch.empty(0), torch.device("cpu")
    random = {"test_utils": ("test_schema", "test_faketensor")}
    for kind in ("bernoulli", "gaussian"):
        key = torch.tensor([3, noise(0.5, kind).packed])
        for shared in ([], [1]):
            torch.library.opcheck(operators.multiply.default, (x, key, kind, 0, shared, DEFINITION))
        torch.library.opcheck(operators.make_key.default, (seed, rate, kind))
        for shape in ([], [3, 2]):
            torch.library.opcheck(
                operators.draw_key.default, (rate, own, cpu, shape, kind), **random
            )
    for shape in ([], [3, 2]):
        torch.library.opcheck(operators.draw_seed.default, (own, cpu, shape), **random)

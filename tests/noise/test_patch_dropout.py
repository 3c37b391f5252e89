"""A fixed number of tokens stays, each set of them with the same probability."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.noise._patch_dropout import PatchDropout, kept_patches, patch_dropout
from dropkit.prediction._sampling import sampling


@pytest.mark.parametrize(("prefix", "p", "kept"), [(1, 0.4, 3), (0, 0.5, 3), (2, 0.8, 1)])
def test_every_set_of_tokens_is_as_likely(prefix, p, kept):
    """Against the list of all sets of K out of N tokens."""
    count = 5 if prefix else 6
    rows = 20_000
    drawn = kept_patches((rows, prefix + count), p, prefix=prefix, seed=3)
    assert drawn.shape == (rows, prefix + kept)
    assert bool((drawn[:, :prefix] == torch.arange(prefix)).all())
    sets = list(itertools.combinations(range(prefix, prefix + count), kept))
    chance = 1 / len(sets)
    error = math.sqrt(chance * (1 - chance) / rows)
    total = 0
    for tokens in sets:
        seen = int((drawn[:, prefix:] == torch.tensor(tokens)).all(1).sum())
        total += seen
        assert abs(seen / rows - chance) < 5 * error
    assert total == rows


def test_samples_and_streams_choose_for_themselves():
    rows = 20_000
    first = kept_patches((rows, 2, 2), 0.5, prefix=0, seed=1)[..., 0]
    other = kept_patches((rows, 2, 2), 0.5, prefix=0, seed=1, stream=1)[..., 0]
    for a, b in ((first[:, 0], first[:, 1]), (first[:-1, 0], first[1:, 0]), (first, other)):
        agree = (a == b).double()
        assert abs(float(agree.mean()) - 0.5) < 5 * 0.5 / math.sqrt(agree.numel())


def test_takes_the_tokens_that_it_shows():
    x = torch.randn(7, 1 + 10, 3, requires_grad=True)
    y = patch_dropout(x, 0.3, seed=5)
    kept = kept_patches((7, 11), 0.3, seed=5)
    assert y.shape == (7, 8, 3)
    assert torch.equal(y, torch.stack([row[index] for row, index in zip(x, kept, strict=True)]))
    assert bool((kept.diff(dim=1) > 0).all())
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    expected = torch.zeros(7, 11).scatter_(1, kept, 1.0)
    assert torch.equal(gradient, expected.unsqueeze(-1).expand_as(gradient))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.int64])
def test_tokens_of_any_kind_in_any_layout(dtype):
    x = torch.arange(2 * 9 * 4).reshape(2, 9, 4).to(dtype)
    expected = patch_dropout(x, 0.5, seed=0)
    strided = x.mT.contiguous().mT
    assert expected.dtype is dtype
    assert torch.equal(patch_dropout(strided, 0.5, seed=0), expected)
    assert torch.equal(patch_dropout(x[0], 0.5, seed=0), expected[0])
    assert torch.equal(patch_dropout(x[:, None], 0.5, seed=0), expected[:, None])


def test_infinite_tokens_that_fall_leave_nothing_behind():
    x = torch.full((1, 9, 2), torch.inf, requires_grad=True)
    y = PatchDropout(0.5)(x)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert not y.isnan().any()
    assert sorted(gradient[0, :, 0].tolist()) == [0.0] * 4 + [1.0] * 5


def test_rate_zero_rate_one_and_empty_input():
    x = torch.randn(3, 5, 2)
    assert torch.equal(PatchDropout(0.0)(x), x)
    assert torch.equal(PatchDropout(1.0)(x), x[:, :1])
    assert PatchDropout(1.0, prefix=0)(x).shape == (3, 0, 2)
    assert PatchDropout(0.5)(torch.empty(0, 5, 2)).shape == (0, 3, 2)
    assert PatchDropout(0.5)(torch.empty(3, 5, 0)).shape == (3, 3, 0)
    assert torch.equal(PatchDropout(0.5)(x[:, :1]), x[:, :1])


def test_evaluation_is_the_identity_and_draws_nothing():
    x = torch.randn(3, 5, 2)
    layer = PatchDropout(0.5).eval()
    state = torch.get_rng_state()
    assert layer(x) is x
    assert patch_dropout(x, 0.5, training=False) is x
    assert torch.equal(torch.get_rng_state(), state)
    with sampling(layer):
        assert layer(x).shape == (3, 3, 2)


def test_seeds_generators_and_copies():
    x = torch.randn(3, 17, 2)
    layer = PatchDropout(0.5)
    results = []
    for twin in (layer, layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(4)
        results.append(twin(x))
    generator = torch.Generator().manual_seed(4)
    results.append(patch_dropout(x, 0.5, generator=generator))
    assert all(torch.equal(y, results[0]) for y in results)
    assert not torch.equal(layer(x), results[0])


def test_compiled_equals_eager_and_exports():
    layer, x = PatchDropout(0.5), torch.randn(3, 9, 2)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for p in (0.5, 0.25, 0.75):
        layer.p = p
        results = []
        for run in (layer, compiled):
            torch.manual_seed(0)
            results.append(run(x))
        assert torch.equal(*results)
    program = torch.export.export(nn.Sequential(layer).eval(), (x,))
    assert torch.equal(program.module()(x), x)
    assert not any("dropkit" in str(node.target) for node in program.graph.nodes)


def test_maps_with_a_choice_for_each_sample():
    layer, x = PatchDropout(0.5), torch.arange(9.0).reshape(9, 1)
    y = torch.func.vmap(layer, randomness="different")(x.expand(64, 9, 1))
    assert y.shape == (64, 5, 1)
    assert len({tuple(row.flatten().tolist()) for row in y}) > 30


def test_refuses_what_has_no_tokens():
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            PatchDropout(p)
    for prefix in (-1, 0.5):
        with pytest.raises(ValueError, match=f"prefix must be an int, 0 or more, got {prefix}"):
            PatchDropout(prefix=prefix)
    with pytest.raises(ValueError, match=r"must be \(…, tokens, features\), got shape \(4,\)"):
        PatchDropout()(torch.ones(4))
    with pytest.raises(ValueError, match="must have the 3 tokens of the prefix, got 2 in all"):
        PatchDropout(prefix=3)(torch.ones(1, 2, 4))
    with pytest.raises(ValueError, match="not both"):
        patch_dropout(torch.ones(1, 2, 4), seed=0, generator=torch.Generator())


def test_repr_shows_rate_and_prefix():
    assert repr(PatchDropout(0.25, prefix=5)) == "PatchDropout(p=0.25, prefix=5)"

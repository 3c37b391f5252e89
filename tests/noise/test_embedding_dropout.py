"""A word type falls at all of its places, or at none."""

import math

import pytest
import torch
from torch import nn

from dropkit.noise._embedding_dropout import EmbeddingDropout


def draw(layer, tokens, seed=0):
    torch.manual_seed(seed)
    return layer(tokens)


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_is_the_lookup_in_a_table_with_dropped_rows(p):
    layer = EmbeddingDropout(nn.Embedding(20, 3, dtype=torch.float64), p)
    tokens = torch.randint(20, (5, 7))
    torch.manual_seed(0)
    table = layer.embedding.weight * layer.drop(torch.ones(20, 1, dtype=torch.float64))
    expected = nn.functional.embedding(tokens, table)
    found = draw(layer, tokens)
    assert torch.equal(found, expected)
    weights = [
        torch.autograd.grad(y.square().sum(), layer.embedding.weight)[0] for y in (found, expected)
    ]
    torch.testing.assert_close(*weights, rtol=1e-13, atol=0)


def test_all_places_of_a_type_and_types_independently():
    layer = EmbeddingDropout(nn.Embedding(3, 1), 0.3)
    nn.init.ones_(layer.embedding.weight)
    torch.manual_seed(0)
    calls = 4000
    tokens = torch.tensor([0, 1, 2, 1, 0])
    y = torch.stack([layer(tokens)[:, 0] for _ in range(calls)])
    assert torch.equal(y[:, 0], y[:, 4])
    assert torch.equal(y[:, 1], y[:, 3])
    code = (y[:, :3] > 0).long() @ torch.tensor([1, 2, 4])
    for mask in range(8):
        kept = mask.bit_count()
        expected = 0.7**kept * 0.3 ** (3 - kept)
        error = math.sqrt(expected * (1 - expected) / calls)
        assert abs(float((code == mask).double().mean()) - expected) < 5 * error


def test_infinite_rows_fall_to_zero():
    layer = EmbeddingDropout(nn.Embedding(4, 2), 1.0)
    nn.init.constant_(layer.embedding.weight, math.inf)
    assert torch.equal(layer(torch.arange(4)), torch.zeros(4, 2))


def test_evaluation_is_the_plain_lookup():
    layer = EmbeddingDropout(nn.Embedding(20, 3), 0.5).eval()
    tokens = torch.randint(20, (5, 7))
    state = torch.get_rng_state()
    assert torch.equal(layer(tokens), layer.embedding(tokens))
    assert torch.equal(torch.get_rng_state(), state)


def test_padding_has_no_gradient_and_sparse_ones_stay_sparse():
    layer = EmbeddingDropout(nn.Embedding(20, 3, padding_idx=0, sparse=True), 0.2)
    layer(torch.tensor([0, 0, 5, 6, 7])).sum().backward()
    gradient = layer.embedding.weight.grad
    assert gradient.is_sparse
    assert not bool(gradient.to_dense()[0].any())


def test_compiled_equals_eager_and_exports():
    layer, tokens = EmbeddingDropout(nn.Embedding(20, 3), 0.5), torch.randint(20, (5, 7))
    expected = draw(layer, tokens)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(draw(compiled, tokens), expected, rtol=1e-6, atol=0)
    program = torch.export.export(layer.eval(), (tokens,))
    assert torch.equal(program.module()(tokens), layer(tokens))


def test_refuses_what_is_no_embedding():
    with pytest.raises(TypeError, match=r"must be an nn\.Embedding, got Linear"):
        EmbeddingDropout(nn.Linear(2, 2))


class Positions(nn.Embedding):
    """As in OPT: positions are counted from a mask, and lie two rows further."""

    def forward(self, mask, past=0, positions=None):
        if positions is None:
            positions = (mask.cumsum(1) * mask - 1).long()[:, past:]
        return super().forward(positions + 2)


class Sliced(nn.Embedding):
    """As in Whisper: the table itself is indexed."""

    def forward(self, tokens, past=0):
        return self.weight[past : past + tokens.shape[1]]


@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    ("kind", "args", "kwargs", "rows"),
    [
        (Positions, (torch.ones(2, 6),), {"past": 1}, torch.arange(3, 8).expand(2, 5)),
        (Positions, (None,), {"positions": torch.tensor([[4, 4, 0]])}, torch.tensor([[6, 6, 2]])),
        (Sliced, (torch.zeros(2, 6),), {"past": 3}, torch.arange(3, 9)),
    ],
)
def test_embeddings_with_a_forward_pass_of_their_own(kind, args, kwargs, rows, p):
    layer = EmbeddingDropout(kind(20, 3, dtype=torch.float64), p)
    torch.manual_seed(0)
    table = layer.embedding.weight * layer.drop(torch.ones(20, 1, dtype=torch.float64))
    torch.manual_seed(0)
    found = layer(*args, **kwargs)
    assert torch.equal(found, table[rows])
    (gradient,) = torch.autograd.grad(found.sum(), layer.embedding.weight)
    assert bool(gradient.any()) == (p < 1)
    before = layer.embedding.weight.detach().clone()
    assert torch.equal(layer.eval()(*args, **kwargs), before[rows])


def test_refuses_max_norm_beside_a_forward_pass_of_its_own():
    with pytest.raises(ValueError, match=r"max_norm=1\.0; limit norms with max_norm_"):
        EmbeddingDropout(Sliced(4, 2, max_norm=1.0))

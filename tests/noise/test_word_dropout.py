"""Tokens become the unknown one at the rate asked for, spared ones never."""

import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.noise._word_dropout import WordDropout, word_dropout
from dropkit.random import keep_mask

TOKENS = torch.arange(2, 42).view(5, 8)


def test_the_mask_is_the_engines():
    y = word_dropout(TOKENS, 0.5, unknown=1, seed=3)
    keep = keep_mask((5, 8), 0.5, seed=3)
    assert torch.equal(y, torch.where(keep, TOKENS, 1))
    assert y.dtype == torch.int64
    assert word_dropout(TOKENS.int(), 0.5, unknown=1, seed=3).dtype == torch.int32


def test_the_rate():
    n, p = 400_000, 0.2
    tokens = torch.randint(1, 4, (n,))
    y = word_dropout(tokens, p, unknown=0, keep_tokens=[2], seed=0)
    for token in (1, 3):
        dropped = (y[tokens == token] == 0).double()
        error = math.sqrt(p * (1 - p) / len(dropped))
        assert abs(float(dropped.mean()) - p) < 5 * error
    assert bool((y[tokens == 2] == 2).all())


def test_extremes():
    assert torch.equal(word_dropout(TOKENS, 0.0, unknown=1), TOKENS)
    y = word_dropout(TOKENS, 1.0, unknown=1, keep_tokens=(2, 41))
    assert y[0, 0] == 2
    assert y[-1, -1] == 41
    assert int((y == 1).sum()) == 38
    assert word_dropout(TOKENS[:0], 0.5, unknown=1).shape == (0, 8)


def test_layer():
    layer = WordDropout(0.5, unknown=1, keep_tokens=[2])
    model = nn.Sequential(layer, nn.Embedding(42, 3))
    assert model(TOKENS).shape == (5, 8, 3)

    def draw(layer):
        torch.manual_seed(4)
        return layer(TOKENS)

    expected = draw(layer)
    assert torch.equal(draw(pickle.loads(pickle.dumps(layer))), expected)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(draw(compiled), expected)
    layer.p = 1.0
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(draw(compiled), draw(layer))
    assert model.eval()[0](TOKENS) is TOKENS
    program = torch.export.export(model, (TOKENS,))
    assert torch.equal(program.module()(TOKENS), model(TOKENS))


def test_refuses_vectors_and_rates():
    with pytest.raises(TypeError, match=r"indices, got torch\.float32"):
        word_dropout(torch.ones(3), unknown=0)
    with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
        WordDropout(2.0, unknown=0)

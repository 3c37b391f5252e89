"""A feature falls at every time step of its sequence, padded or packed."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from dropkit.noise._locked_dropout import LockedDropout, locked_dropout
from dropkit.random import keep_mask
from dropkit.testing import check_noise


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 4)])
def test_keeps_the_contract(shape, batch_first):
    check_noise(LockedDropout(0.3, batch_first=batch_first), shape=shape, calls=1000)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_mask_for_all_time_steps(batch_first):
    x = torch.rand(7, 4, 5, dtype=torch.float64) + 1  # (T, N, F)
    keep = keep_mask((4, 5), 0.5, seed=1)
    assert 0 < int(keep.sum()) < 20
    expected = torch.where(keep, 2 * x, 0.0)
    if batch_first:
        y = locked_dropout(x.transpose(0, 1), 0.5, batch_first=True, seed=1)
        y = y.transpose(0, 1)
    else:
        y = locked_dropout(x, 0.5, seed=1)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_sequence_is_shared_over_its_time(batch_first):
    y = LockedDropout(0.5, batch_first=batch_first)(torch.ones(9, 64))
    assert bool((y == y[:1]).all())
    assert len(y[0].unique()) == 2


def test_sequences_and_features_are_independent():
    p, n = 0.3, 20_000
    y = locked_dropout(torch.ones(2, n, 2), p, seed=0)[0] > 0
    code = torch.stack([y[::2, 0], y[::2, 1], y[1::2, 0]]).long().T @ torch.tensor([1, 2, 4])
    for mask in range(8):
        kept = mask.bit_count()
        expected = (1 - p) ** kept * p ** (3 - kept)
        error = math.sqrt(expected * (1 - expected) / len(code))
        assert abs(float((code == mask).double().mean()) - expected) < 5 * error


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.4, 1.0])
def test_packed_has_the_masks_of_padded(ordered, p):
    x = torch.randn(6, 4, 3, dtype=torch.float64)
    lengths = [6, 5, 2, 1] if ordered else [2, 6, 1, 5]
    for length, sequence in zip(lengths, x.unbind(1), strict=True):
        sequence[length:] = 0
    packed = pack_padded_sequence(x, lengths, enforce_sorted=ordered)
    y = locked_dropout(packed, p, seed=8)
    assert isinstance(y, PackedSequence)
    padded, found = pad_packed_sequence(y)
    assert found.tolist() == lengths
    assert torch.equal(padded, locked_dropout(x, p, seed=8))


def test_packed_inf_gradient_and_low_precision():
    x = pack_padded_sequence(torch.ones(3, 2, 8).half() * torch.inf, [3, 1])
    y = LockedDropout(0.5)(x)
    assert y.data.dtype == torch.float16
    assert set(y.data.unique().tolist()) == {0.0, torch.inf}
    data = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)

    def through(data):
        return locked_dropout(PackedSequence(data, x.batch_sizes), 0.5, seed=3).data

    assert torch.autograd.gradcheck(through, data)


def test_packed_is_the_identity_in_evaluation():
    x = pack_padded_sequence(torch.ones(3, 2, 8), [3, 1])
    assert LockedDropout(0.5).eval()(x) is x


def test_between_two_recurrent_layers():
    first, second = nn.LSTM(3, 5, batch_first=True), nn.LSTM(5, 2, batch_first=True)
    between = LockedDropout(0.5, batch_first=True)
    y, _ = second(between(first(torch.randn(4, 6, 3))[0]))
    assert y.shape == (4, 6, 2)


def test_compiled_equals_eager_and_exports():
    layer, x = LockedDropout(0.5), torch.rand(6, 4, 3)
    torch.manual_seed(5)
    expected = layer(x)
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.manual_seed(5)
    assert torch.equal(compiled(x), expected)
    program = torch.export.export(nn.Sequential(layer).eval(), (x,))
    assert torch.equal(program.module()(x), x)


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"must be \(T, N, F\), .*got shape \(2, 3, 4, 5\)"):
        LockedDropout()(torch.ones(2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"must be \(N, T, F\), .*got shape \(4,\)"):
        LockedDropout(batch_first=True)(torch.ones(4))
    assert repr(LockedDropout.from_keep_prob(0.75)) == "LockedDropout(p=0.25, batch_first=False)"

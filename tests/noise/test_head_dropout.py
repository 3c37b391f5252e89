"""Whole heads fall for each sample in training; all else is torch's multi-head attention."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit import doctor, insert, predict, rates, replace, sampling, set_rates, strip
from dropkit._graph import trace
from dropkit.noise import Dropout, Dropout2d, HeadDropout
from dropkit.testing import check_noise

N, L, S, HEADS, SIZE = 3, 4, 5, 4, 8
CAUSAL = torch.full((L, L), -math.inf, dtype=torch.float64).triu(1)
PADDING = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
OPTIONS = [
    {},
    {"batch_first": True},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True, "batch_first": True},
    {"kdim": 3, "vdim": 5},
    {"dropout": 0.3},
]
CASES = {
    "none": {},
    "bool": {"attn_mask": torch.arange(L)[:, None] < torch.arange(S)},
    "number": {"attn_mask": torch.linspace(-1, 1, L * S).view(L, S).double()},
    "of each head": {"attn_mask": torch.arange(N * HEADS * L * S).view(-1, L, S).double().sin()},
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": torch.arange(L)[:, None] < torch.arange(S), "key_padding_mask": PADDING},
}


def attention(**options):
    torch.manual_seed(0)
    made = nn.MultiheadAttention(SIZE, HEADS, **options).double()
    for p in made.parameters():
        nn.init.normal_(p, std=0.5)
    return made


def inputs(made):
    torch.manual_seed(1)
    shapes = (N, L, SIZE), (N, S, made.kdim), (N, S, made.vdim)
    given = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    return [x if made.batch_first else x.transpose(0, 1) for x in given]


def assert_close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def of_each_head(made, *args, **kwargs):
    """What each head adds to the output, by torch's attention with the others' columns zero."""
    outputs = []
    for head in range(HEADS):
        one = copy.deepcopy(made).eval()
        columns = torch.zeros(SIZE).unflatten(0, (HEADS, -1))
        columns[head] = 1
        with torch.no_grad():
            one.out_proj.weight *= columns.flatten()
            one.out_proj.bias.zero_()
        outputs.append(one(*args, **kwargs, need_weights=False)[0])
    return torch.stack(outputs)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("asked", [{"need_weights": False}, {}, {"average_attn_weights": False}])
def test_rate_zero_is_the_attention_of_torch(options, case, asked):
    plain = attention(**options)
    layer = HeadDropout(copy.deepcopy(plain), 0.0)
    results = []
    for made in (plain, layer):
        given = [x.requires_grad_() for x in inputs(made)]
        torch.manual_seed(2)
        y, weights = made(*given, **CASES[case], **asked)
        wanted = (*given, *made.parameters())
        of_y = torch.autograd.grad(y.square().sum(), wanted, allow_unused=True)
        results.append((y, *of_y, weights))
    assert (results[0][-1] is None) == ("need_weights" in asked)
    for a, b in zip(*results, strict=True):
        assert a is b is None or (a is not None and b is not None)
        if a is not None:
            assert_close(a, b)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("padding", [None, PADDING[:, :L]])
def test_causal_self_attention_is_that_of_torch(batch_first, asked, padding):
    plain = attention(batch_first=batch_first)
    layer = HeadDropout(plain, 0.0)
    x = inputs(plain)[0]
    mask = CAUSAL if padding is None else CAUSAL.isinf()
    kwargs = {"attn_mask": mask, "is_causal": True, "need_weights": asked}
    for made_of in ((x, x, x), (x, x, x + 1), (x, x + 1, x)):
        expected, found = (m(*made_of, padding, **kwargs) for m in (plain, layer))
        assert_close(found[0], expected[0])
        if asked:
            assert_close(found[1], expected[1])
    one = x[0] if batch_first else x[:, 0]
    padding = None if padding is None else padding[0]
    expected, found = (m(one, one, one, padding, **kwargs) for m in (plain, layer))
    assert found[0].shape == (L, SIZE)
    assert_close(found[0], expected[0])
    if asked:
        assert_close(found[1], expected[1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batch_first", [True, False])
def test_heads_fall_for_each_sample_as_the_mask_shows(case, batch_first):
    layer = HeadDropout(attention(batch_first=batch_first), 0.25)
    plain = attention(batch_first=batch_first)
    given = inputs(plain)
    torch.manual_seed(3)
    y = layer(*given, **CASES[case], need_weights=False)[0]
    torch.manual_seed(3)
    mask = layer.drop(torch.ones(N, HEADS, 1, 1, dtype=torch.float64))
    assert set(mask.unique().tolist()) == {0, 4 / 3}
    assert len(mask.unique(dim=0)) > 1
    each = of_each_head(plain, *given, **CASES[case])
    shape = (HEADS, N, 1, 1) if batch_first else (HEADS, 1, N, 1)
    expected = (each * mask.flatten(1).T.reshape(shape)).sum(0) + plain.out_proj.bias
    assert_close(y, expected)


def test_mean_and_variance():
    """Against the sum over all masks of the heads of one sample."""
    p, calls = 0.3, 20_000
    plain = attention(batch_first=True)
    x = inputs(plain)[0][:1]
    each, bias = of_each_head(plain, x, x, x)[:, 0], plain.out_proj.bias
    mean = second = 0
    for mask in itertools.product((0, 1), repeat=HEADS):
        y = sum(m / (1 - p) * head for m, head in zip(mask, each, strict=True)) + bias
        chance = (1 - p) ** sum(mask) * p ** (HEADS - sum(mask))
        mean, second = mean + chance * y, second + chance * y * y
    variance = second - mean**2
    assert_close(mean, plain(x, x, x)[0][0])
    assert_close(variance, p / (1 - p) * each.square().sum(0))
    x = x.expand(calls, -1, -1)
    y = HeadDropout(plain, p)(x, x, x, need_weights=False)[0].detach()
    assert bool(((y.mean(0) - mean).abs() < 5 * (variance / calls).sqrt()).all())
    error = (y - y.mean(0)).square().std(0) / calls**0.5
    assert bool(((y.var(0) - variance).abs() < 5 * error).all())


def test_the_drop_keeps_the_contract_of_noise():
    check_noise(HeadDropout(attention(), 0.3).drop, shape=(4, 3, 2, 2))


def test_channel_dropout_drops_the_same_heads():
    read = torch.randn(N, HEADS, L, 2)
    results = []
    for drop in (HeadDropout(attention(), 0.4).drop, Dropout2d(0.4)):
        torch.manual_seed(5)
        results.append(drop(read))
    assert torch.equal(*results)


def test_rate_one_leaves_the_bias():
    layer = HeadDropout(attention(batch_first=True), 1.0)
    y = layer(*inputs(layer), need_weights=False)[0]
    assert torch.equal(y, layer.out_proj.bias.expand_as(y))
    y.sum().backward()
    assert not layer.in_proj_weight.grad.any()
    assert not layer.out_proj.weight.grad.any()
    assert bool((layer.out_proj.bias.grad == N * L).all())


def test_weights_are_those_of_all_heads():
    plain = attention()
    expected = plain(*inputs(plain))[1]
    assert_close(HeadDropout(plain, 0.9)(*inputs(plain))[1], expected)


@pytest.mark.parametrize("gradient", [True, False])
def test_evaluation_is_the_attention_itself(gradient):
    plain = attention(batch_first=True, dropout=0.5).eval()
    layer = HeadDropout(plain, 0.5)
    assert not layer.drop.training
    x = inputs(plain)[0]
    state = torch.get_rng_state()
    with torch.set_grad_enabled(gradient):
        expected, found = plain(x, x, x), layer(x, x, x)
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_dropped_in_its_own_training_alone():
    plain = attention(dropout=0.5)
    expected = plain.eval()(*inputs(plain))[0]
    layer = HeadDropout(plain, 0.0)
    layer.drop.train()  # as in Monte-Carlo sampling
    assert_close(layer(*inputs(plain))[0], expected)
    assert not torch.allclose(layer.train()(*inputs(plain))[0], expected)


def encoder(p=0.3, **options):
    torch.manual_seed(0)
    options = {"batch_first": True, "dropout": 0.0} | options
    block = nn.TransformerEncoderLayer(SIZE, HEADS, 16, **options)
    block.self_attn = HeadDropout(block.self_attn, p)
    return block


class TestInTransformers:
    def test_names_and_parameters_stay(self):
        block = nn.TransformerEncoderLayer(SIZE, HEADS, 16)
        before, names = dict(block.named_parameters()), list(block.state_dict())
        block.self_attn = HeadDropout(block.self_attn)
        assert list(block.state_dict()) == names
        assert all(p is before[name] for name, p in block.named_parameters())
        assert all(p is q for p, q in zip(block.parameters(), before.values(), strict=True))

    @pytest.mark.parametrize("norm_first", [True, False])
    def test_evaluation_with_fast_paths(self, norm_first):
        torch.manual_seed(0)
        block = nn.TransformerEncoderLayer(SIZE, HEADS, 16, batch_first=True, norm_first=norm_first)
        net = nn.TransformerEncoder(block, 2, enable_nested_tensor=not norm_first).eval()
        other = copy.deepcopy(net)
        for layer in other.layers:
            layer.self_attn = HeadDropout(layer.self_attn, 0.5)
        x = torch.randn(N, S, SIZE)
        with torch.no_grad():
            for mask in (None, PADDING):
                results = [m(x, src_key_padding_mask=mask) for m in (net, other)]
                assert torch.equal(*results)

    def test_training_drops_in_encoder_and_decoder(self):
        block = encoder(1.0).train()
        x = torch.randn(N, S, SIZE)
        y = block(x, src_key_padding_mask=PADDING)
        alone = block.norm1(x + block.self_attn.out_proj.bias)
        torch.testing.assert_close(y, block.norm2(alone + block._ff_block(alone)))
        decoder = nn.TransformerDecoderLayer(SIZE, HEADS, 16, dropout=0.0, batch_first=True)
        decoder.multihead_attn = HeadDropout(decoder.multihead_attn, 1.0)
        y = decoder(x, torch.randn(N, L, SIZE))
        torch.testing.assert_close(decoder(x, torch.randn(N, L, SIZE)), y)  # sees no memory
        decoder.multihead_attn.drop.p = 0.0
        assert not torch.allclose(decoder(x, torch.randn(N, L, SIZE)), y)

    def test_sampling(self):
        block = encoder().eval()
        x = torch.randn(1, S, SIZE)
        with torch.no_grad(), sampling(block) as switches:
            assert "self_attn.drop" in switches.switched_on
            assert not torch.equal(block(x), block(x))
        assert predict(block, x, samples=20).variance.max() > 0

    def test_rates_and_surgery(self):
        block = encoder(0.3, dropout=0.1)
        assert rates(block)["self_attn.drop"] == 0.3
        assert rates(block)["self_attn.dropout"] == 0.1
        assert set_rates(block, {"self_attn.drop": 0.7})[0].self_attn.drop.p == 0.7
        _, report = replace(block, Dropout(0.5))
        assert "self_attn.drop: is part of HeadDropout" in report.left
        assert strip(block)[0].self_attn.drop.p == 0.0

    def test_the_doctor_finds_nothing(self):
        net = nn.Sequential(encoder(), nn.Flatten(), nn.Linear(SIZE * S, 2))
        assert doctor(net, torch.randn(8, S, SIZE)).findings == ()

    def test_models_that_hold_it_can_be_followed(self):
        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.attend = HeadDropout(nn.MultiheadAttention(SIZE, HEADS, batch_first=True))
                self.act, self.out = nn.ReLU(), nn.Linear(SIZE, 2)

            def forward(self, x):
                return self.out(self.act(self.attend(x, x, x)[0]))

        called = [node.target for node in trace(Block()).nodes if node.op == "call_module"]
        assert called == ["attend", "act", "out"]
        net, report = insert(Block(), Dropout(0.5))
        assert report.changed == ("act",)
        assert net(torch.randn(N, S, SIZE)).shape == (N, S, 2)


def test_copies_draw_the_same():
    layer = HeadDropout(attention(), 0.5)
    results = []
    for twin in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(4)
        results.append(twin(*inputs(layer))[0])
    assert all(torch.equal(y, results[0]) for y in results)


@pytest.mark.parametrize("weights", [True, False])
def test_compiled(weights):
    layer = HeadDropout(attention(batch_first=True), 0.5)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    x = inputs(layer)[0]
    results = []
    for run in (layer, compiled):
        torch.manual_seed(0)
        y, _ = run(x, x, x, PADDING[:, :L], need_weights=weights, attn_mask=CAUSAL)
        results.append((y, *torch.autograd.grad(y.square().sum(), tuple(layer.parameters()))))
    torch.testing.assert_close(*results)


def test_autocast_and_half_precision():
    layer = HeadDropout(attention(batch_first=True).float(), 0.5)
    x = inputs(layer)[0].float()
    torch.manual_seed(0)
    expected = layer(x, x, x, PADDING[:, :L])[0]
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x, x, x, PADDING[:, :L])[0]
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=0.05, atol=0.05)
    torch.manual_seed(0)
    y = layer.bfloat16()(x.bfloat16(), x.bfloat16(), x.bfloat16(), PADDING[:, :L])[0]
    torch.testing.assert_close(y.float(), expected, rtol=0.1, atol=0.1)


def test_no_samples():
    x = torch.empty(0, L, SIZE, dtype=torch.float64)
    layer = HeadDropout(attention(batch_first=True), 0.5)
    assert layer(x, x, x)[0].shape == layer.eval()(x, x, x)[0].shape == (0, L, SIZE)


class TestErrors:
    def test_what_is_no_attention(self):
        with pytest.raises(TypeError, match=r"must be an nn\.MultiheadAttention itself, got Lin"):
            HeadDropout(nn.Linear(2, 2))
        with pytest.raises(TypeError, match="got HeadDropout"):
            HeadDropout(HeadDropout(attention()))
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            HeadDropout(attention(), 1.5)

    def test_hooks_would_be_lost(self):
        hooked, changed = attention(), attention()
        hooked.register_forward_hook(lambda *_: None)
        changed.forward = lambda *_: None
        for made in (hooked, changed):
            with pytest.raises(ValueError, match="must not have hooks or its own forward pass"):
                HeadDropout(made)

    @pytest.mark.parametrize(
        ("kwargs", "message"),
        [
            ({"attn_mask": torch.zeros(L, S + 1)}, r"attn_mask must be \(L, S\) = \(4, 5\)"),
            ({"attn_mask": torch.zeros(N, L, S)}, r"\(N · heads, L, S\) = \(12, 4, 5\)"),
            ({"key_padding_mask": PADDING.T}, r"key_padding_mask must be \(N, S\) = \(3, 5\)"),
            ({"is_causal": True}, "attn_mask is causal, so attn_mask must be given"),
        ],
    )
    def test_masks(self, kwargs, message):
        layer = HeadDropout(attention())
        with pytest.raises(ValueError, match=message):
            layer(*inputs(layer), **kwargs)

    def test_inputs(self):
        layer = HeadDropout(attention(batch_first=True))
        query, key, value = inputs(layer)
        with pytest.raises(ValueError, match="all of three dimensions, or all of two"):
            layer(query, key[0], value)
        with pytest.raises(ValueError, match="must have the same number of sequences"):
            layer(query[:1], key, value)
        with pytest.raises(ValueError, match="must have the same number of sequences"):
            layer(query, key, value[:, :2])

"""Attention of the kept heads against all heads under the same mask, in float64."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit import predict, set_rates
from dropkit.noise import HeadDropout
from dropkit.thinned import LazyOptimizer, gradient_noise, thin
from dropkit.thinned._units import Units
from helpers.masked_net import Mask, assert_close, assert_same_step, mlp

N, L, S, HEADS, SIZE = 5, 4, 6, 4, 8
PADDING = torch.arange(S) >= torch.tensor([6, 4, 3, 6, 2])[:, None]
CASES = {
    "none": {},
    "bool": {"attn_mask": torch.arange(L)[:, None] < torch.arange(S)},
    "of each head": {"attn_mask": torch.arange(N * HEADS * L * S).view(-1, L, S).double().sin()},
    "padding": {"key_padding_mask": PADDING},
    "both": {"attn_mask": torch.arange(L)[:, None] < torch.arange(S), "key_padding_mask": PADDING},
}
OPTIONS = [
    {},
    {"batch_first": False},
    {"bias": False},
    {"kdim": 3, "vdim": 5},
    {"kdim": 3, "vdim": 5, "bias": False, "batch_first": False},
]


def attention(p=0.5, **options):
    torch.manual_seed(0)
    made = nn.MultiheadAttention(SIZE, HEADS, **({"batch_first": True} | options)).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return HeadDropout(made, p)


def data(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def masked(thinned, plan):
    """Return a copy in which a ``Mask`` drops the heads that were drawn last."""
    net = plan.undo(thinned)
    for module, dense in zip(thinned.modules(), net.modules(), strict=True):
        if isinstance(module, HeadDropout):
            dense.drop = Mask(2)
            dense.drop.units = module.forward.units
    return net


class Self(nn.Module):
    """Self-attention of what it is given."""

    def __init__(self, attention, **kwargs):
        super().__init__()
        self.attention, self.kwargs = attention, kwargs

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False, **self.kwargs)[0]


class Cross(nn.Module):
    """Attention to something else, of the dimensions that its layer asks for."""

    def __init__(self, attention, **kwargs):
        super().__init__()
        self.attention, self.kwargs = attention, kwargs

    def forward(self, x):
        key, value = data(N, S, self.attention.kdim), 2 * data(N, S, self.attention.vdim)
        if not self.attention.batch_first:
            x, key, value = (t.transpose(0, 1) for t in (x, key, value))
        y = self.attention(x, key, value, need_weights=False, **self.kwargs)[0]
        return y if self.attention.batch_first else y.transpose(0, 1)


def kept(net):
    (heads,) = (m.forward.units for m in net.modules() if isinstance(m, HeadDropout))
    return heads.making()


@pytest.mark.usefixtures("always")
class TestSteps:
    @pytest.mark.parametrize("groups", [1, 3])
    @pytest.mark.parametrize("case", CASES)
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    def test_a_step_is_that_of_the_masked_heads(self, options, case, groups):
        net, plan = thin(Cross(attention(**options), **CASES[case]), groups)
        dense = masked(net, plan)
        for _ in range(3):
            assert_same_step(net, dense, data(N, L, SIZE))
            assert [len(index) for index in kept(net)] == [2] * groups

    @pytest.mark.parametrize("groups", [1, 3])
    @pytest.mark.parametrize("batch_first", [True, False])
    @pytest.mark.parametrize("causal", [True, False])
    def test_self_attention(self, causal, batch_first, groups):
        mask = torch.full((N, N), -math.inf, dtype=torch.float64).triu(1)
        kwargs = {"attn_mask": mask, "is_causal": True} if causal else {}
        net, plan = thin(Self(attention(0.25, batch_first=batch_first), **kwargs), groups)
        assert_same_step(net, masked(net, plan), data(N, N, SIZE))
        assert [len(index) for index in kept(net)] == [3] * groups

    def test_one_sequence_without_a_batch(self):
        net, plan = thin(Self(attention()), groups=3)
        x = data(L, SIZE)
        torch.manual_seed(3)
        y = net(x)
        assert y.shape == (L, SIZE)
        assert len(kept(net)) == 1
        assert_close(y, masked(net, plan)(x[None])[0])

    def test_gradients_of_a_learned_mask(self):
        mask = nn.Parameter(data(N * HEADS, L, S))
        net, plan = thin(Cross(attention(), attn_mask=mask), 2)
        dense = masked(net, plan)
        dense.kwargs = {"attn_mask": (own := nn.Parameter(mask.detach().clone()))}
        assert_same_step(net, dense, data(N, L, SIZE))
        assert_close(net.kwargs["attn_mask"].grad, own.grad)
        assert bool(own.grad.any())

    @pytest.mark.parametrize(
        "optimizer",
        [
            lambda p: torch.optim.SGD(p, lr=0.001, momentum=0.9, weight_decay=0.01),
            lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=0.01),
        ],
    )
    def test_optimizers_move_what_was_dropped_as_ever(self, optimizer):
        net, plan = thin(Self(attention()))
        dense = masked(net, plan)
        optimizers = [optimizer(model.parameters()) for model in (net, dense)]
        masks = set()
        for _ in range(6):
            assert_same_step(net, dense, data(N, L, SIZE), optimizers)
            masks.add(tuple(kept(net)[0].tolist()))
        assert len(masks) > 1

    def test_tied_weights_accumulate(self):
        layer = Self(attention())
        layer.attention.out_proj.weight = layer.attention.q = nn.Parameter(data(SIZE, SIZE))
        other = nn.Linear(SIZE, SIZE).double()
        other.weight = layer.attention.out_proj.weight
        net, plan = thin(nn.Sequential(layer, other))
        dense = masked(net, plan)
        assert dense[1].weight is dense[0].attention.out_proj.weight
        assert_same_step(net, dense, data(N, L, SIZE))

    @pytest.mark.parametrize("groups", [1, 2])
    def test_second_derivatives(self, groups):
        net, plan = thin(Cross(attention(), attn_mask=data(N * HEADS, L, S)), groups)
        penalties = []
        for model in (net, masked(net, plan)):
            x = data(N, L, SIZE).requires_grad_()
            with nn.attention.sdpa_kernel(nn.attention.SDPBackend.MATH):
                (grad,) = torch.autograd.grad(model(x).square().sum(), x, create_graph=True)
                grad.square().sum().backward()
            penalties.append([p.grad for p in model.parameters()])
        for a, b in zip(*penalties, strict=True):
            assert_close(a, b)

    @pytest.mark.parametrize("kind", ["encoder", "decoder"])
    @pytest.mark.parametrize("batch_first", [True, False])
    def test_in_transformer_layers(self, kind, batch_first):
        torch.manual_seed(0)
        made = nn.TransformerEncoderLayer if kind == "encoder" else nn.TransformerDecoderLayer
        block = made(SIZE, HEADS, 16, dropout=0.0, batch_first=batch_first).double()
        names = ("self_attn",) if kind == "encoder" else ("self_attn", "multihead_attn")
        for name in names:
            setattr(block, name, HeadDropout(getattr(block, name), 0.5))
        net, plan = thin(block, groups=2)
        assert [line for line in plan.thinned if "heads" in line] == [
            f"{name}.drop: {name} computes 2 of 4 heads, for batches of 0 rows or more"
            for name in names
        ]
        assert not any("drop:" in line and "attn" in line for line in plan.left)
        assert {name: plan.saved[name] for name in names} == dict.fromkeys(names, 0.5)
        dense = masked(net, plan)

        class Both(nn.Module):
            def __init__(self, block):
                super().__init__()
                self.block = block

            def forward(self, x):
                return self.block(x) if kind == "encoder" else self.block(x, data(*x.shape))

        assert_same_step(Both(net), Both(dense), data(N, N, SIZE))

    def test_dropout_of_weights_stays(self):
        net, plan = thin(Self(attention(dropout=0.5)))
        assert "attention: drops single attention weights" in plan.left
        x = data(1, L, SIZE)
        results = []
        for _ in range(20):
            results.append(net(x))
        heads = {tuple(kept(net)[0].tolist())}
        assert len(torch.stack(results).unique(dim=0)) > 10 > len(heads)
        assert torch.equal(net.eval()(x), plan.undo(net)(x))


@pytest.mark.usefixtures("always")
class TestModes:
    def test_evaluation_is_that_of_all_heads(self):
        dense = Self(attention()).eval()
        net, _ = thin(dense)
        x = data(N, L, SIZE)
        assert torch.equal(net(x), dense(x))
        net.train()(x)
        assert kept(net) is not None
        assert torch.equal(net.eval()(x), dense(x))

    def test_asked_for_weights_it_computes_all_heads(self):
        net, plan = thin(attention())
        reason = "computes all heads where it is asked for weights; pass need_weights=False"
        assert plan.left == (f"drop: {reason}",)
        assert plan.thinned == (
            "drop: the model computes 2 of 4 heads, for batches of 0 rows or more",
        )
        x = data(N, L, SIZE)
        torch.manual_seed(3)
        y, weights = net(x, x, x, average_attn_weights=False)
        torch.manual_seed(3)
        expected = plan.undo(net)(x, x, x, average_attn_weights=False)
        assert torch.equal(y, expected[0])
        assert torch.equal(weights, expected[1])

    @pytest.mark.parametrize("part", ["attention", "attention.drop"])
    def test_with_either_off_nothing_is_thinned(self, part):
        net, plan = thin(Self(attention()))
        net.get_submodule(part).eval()
        if part == "attention":
            net.attention.drop.train()
        x = data(N, L, SIZE)
        torch.manual_seed(3)
        y = net(x)
        assert kept(net) is None
        torch.manual_seed(3)
        assert torch.equal(plan.undo(net)(x), y)

    def test_samples_have_masks_of_their_own(self):
        net, _ = thin(Self(attention()))
        x = data(1, L, SIZE).expand(50, -1, -1)
        assert predict(net.eval(), x, samples=20).variance.min() > 0
        net.attention.drop.train()
        assert len(net(x).unique(dim=0)) > 3

    def test_samples_have_masks_of_their_own_where_weights_are_dropped_too(self):
        net, plan = thin(Self(attention(dropout=0.1)).eval())
        x = data(N, L, SIZE)
        samples = [predict(model, x, samples=20, seed=0) for model in (net, plan.undo(net))]
        assert torch.equal(samples[0].variance, samples[1].variance)

    @pytest.mark.parametrize("p", [0.0, 0.1, 1.0])
    def test_all_or_none_is_ordinary_dropout(self, p):
        net, plan = thin(Self(attention(p)))
        x = data(N, L, SIZE)
        torch.manual_seed(0)
        y = net(x)
        assert kept(net) is None
        torch.manual_seed(0)
        assert torch.equal(plan.undo(net)(x), y)

    def test_rates_can_change(self):
        net, plan = thin(Self(attention()))
        net, _ = set_rates(net, {"*.drop": 0.25})
        assert_same_step(net, masked(net, plan), data(N, L, SIZE))
        assert len(kept(net)[0]) == 3

    def test_masks_balance(self):
        net, _ = thin(Self(attention()))
        x = data(N, L, SIZE)
        for _ in range(3):
            heads = []
            for _ in range(2):
                net(x)
                heads += kept(net)[0].tolist()
            assert sorted(heads) == list(range(HEADS))

    @pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
    def test_copies_are_thinned_by_themselves(self, again):
        net, _ = thin(Self(attention()))
        other = again(net)
        x = data(N, L, SIZE)
        results = []
        for model in (net, other):
            torch.manual_seed(0)
            results.append(model(x))
        assert torch.equal(*results)
        assert other.attention.forward.module is other.attention
        assert other.attention.forward.units is not net.attention.forward.units

    def test_autocast(self):
        net, plan = thin(Self(attention().float()))
        x = data(N, L, SIZE).float()
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x)
            expected = masked(net, plan)(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y, expected, rtol=0.05, atol=0.05)
        y.sum().backward()
        assert net.attention.in_proj_weight.grad.dtype == torch.float32

    @pytest.mark.parametrize("groups", [1, 2])
    def test_compiled(self, groups):
        block = nn.TransformerEncoderLayer(SIZE, HEADS, 16, dropout=0.0, batch_first=True).double()
        block.self_attn = HeadDropout(block.self_attn, 0.5)
        net, _ = thin(block, groups)
        twin = copy.deepcopy(net)
        compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
        x, padding = data(N, S, SIZE), PADDING
        for run in (net, compiled):
            torch.manual_seed(0)
            run(x, src_key_padding_mask=padding).square().sum().backward()
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)

    def test_function_transforms(self):
        net, _ = thin(Self(attention()))
        x = data(N, L, SIZE)

        def loss(parameters):
            return torch.func.functional_call(net, parameters, (x,)).square().sum()

        torch.manual_seed(0)
        grads = torch.func.grad(loss)(dict(net.named_parameters()))
        torch.manual_seed(0)
        net(x).square().sum().backward()
        for name, p in net.named_parameters():
            assert_close(grads[name], p.grad)

    def test_checkpointed(self):
        net, _ = thin(Self(attention()))
        x = data(N, L, SIZE).requires_grad_()
        grads = []
        for run in (net, lambda x: torch.utils.checkpoint.checkpoint(net, x, use_reentrant=False)):
            net.zero_grad()
            net.attention.forward.units.forget()
            torch.manual_seed(0)
            run(x).square().sum().backward()
            grads.append([p.grad for p in net.parameters()])
        for a, b in zip(*grads, strict=True):
            assert_close(a, b)

    def test_draws_for_the_noise_of_gradients_begin_anew(self, monkeypatch):
        net, _ = thin(Self(attention()))
        forgotten = []
        monkeypatch.setattr(Units, "forget", lambda units: forgotten.append(units))
        gradient_noise(net, [data(N, L, SIZE)] * 2, lambda net, x: net(x).sum(), draws=3)
        assert len(forgotten) == 6


class TestPlan:
    def test_few_rows_are_dropped_as_ever(self):
        net, plan = thin(Self(attention()))
        assert plan.thinned == (
            "attention.drop: attention computes 2 of 4 heads, for batches of 96 rows or more",
        )
        net(data(8, 11, SIZE))
        assert kept(net) is None
        net(data(8, 12, SIZE))
        assert kept(net) is not None

    def test_the_shorter_of_queries_and_keys_counts(self):
        net, _ = thin(attention())
        long, short = data(8, 12, SIZE), data(8, 11, SIZE)
        for query, key in ((long, short), (short, long)):
            net(query, key, key, need_weights=False)
            assert kept(net) is None
        net(long, long + 1, long, need_weights=False)
        assert kept(net) is not None

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda m: m.register_forward_hook(lambda *_: None), "its attention has hooks"),
            (lambda m: m.drop.register_forward_hook(lambda *_: None), "Dropout has hooks"),
            (
                lambda m: m.out_proj.register_forward_pre_hook(lambda *_: None),
                "NonDynamicallyQuantizableLinear has hooks",
            ),
            (lambda m: setattr(m, "drop", nn.Dropout(0.5)), "does not drop whole heads"),
            (lambda m: setattr(m.drop, "shared_dims", (-1,)), "does not drop whole heads"),
            (lambda m: setattr(m, "bias_k", nn.Parameter(data(1, 1, SIZE))), "adds its own keys"),
            (lambda m: setattr(m, "add_zero_attn", True), "adds its own keys and values"),
            (lambda m: setattr(m, "__class__", type("Mine", (HeadDropout,), {})), "Mine is a sub"),
        ],
    )
    def test_what_cannot_be_thinned_is_listed(self, change, reason):
        layer = attention()
        change(layer)
        _, plan = thin(nn.Sequential(Self(layer), *mlp().double()))
        assert not any("heads" in line for line in plan.thinned)
        (line,) = (line for line in plan.left if line.startswith("0.attention.drop:"))
        assert reason in line
        with pytest.raises(ValueError, match=reason):
            thin(Self(layer))

    def test_undo_and_twice(self):
        net, plan = thin(Self(attention()))
        with pytest.raises(ValueError, match="is thinned already"):
            thin(net)
        back = plan.undo(net)
        assert "forward" not in back.attention.__dict__
        assert back.state_dict().keys() == net.state_dict().keys()
        thin(back)

    def test_lazy_updates_leave_it_dense(self):
        net, _ = thin(Self(attention()))
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        with pytest.raises(ValueError, match="must have a thinned linear or convolutional layer"):
            LazyOptimizer(sgd, net)
        layers = nn.Linear(SIZE, 200), nn.Dropout(), nn.Linear(200, 1)
        net, _ = thin(nn.Sequential(Self(attention()), *layers).double())
        optimizer = LazyOptimizer(torch.optim.SGD(net.parameters(), lr=0.1, weight_decay=0.5), net)
        before = copy.deepcopy(net)
        net(data(20, 10, SIZE)).square().mean().backward()
        optimizer.step()
        changed = net[0].attention.in_proj_weight != before[0].attention.in_proj_weight
        assert bool(changed.all())  # weight decay reaches the dropped heads
        assert int((net[1].weight != before[1].weight).any(1).sum()) == 100


def test_nothing_is_saved_where_no_head_would_be_kept():
    net = nn.Sequential(HeadDropout(nn.MultiheadAttention(8, 2, batch_first=True), 0.9))
    assert set(thin(net)[1].saved.values()) == {0.0}

"""Rates: listed wherever a model holds them, set by name, followed by compiled code."""

import math
import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise import (
    DropConnect,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    StochasticDepth,
    WeightDrop,
    Zoneout,
)
from dropkit.schedule import constant, linear
from dropkit.surgery import insert, rates, replace, schedule_rates, set_rates


class Attention(nn.Module):
    """Holds its rate as a number, and another that only its constructor reads."""

    def __init__(self, dropout=0.1):
        super().__init__()
        self.dropout = dropout
        self.drop_rate = 0.7
        self.drop = nn.Dropout(self.drop_rate)
        self.drop_threshold = 0.5

    def forward(self, x):
        x = self.drop(x) * self.drop_threshold
        p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


class DropBranch(nn.Module):
    """A dropout layer as other packages have it."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return F.dropout(x, self.p, self.training)


class Learned(Dropout):
    """A noise whose rate can be read, not set."""

    p = property(lambda self: 0.25)

    def __init__(self):
        nn.Module.__init__(self)


def everything():
    return nn.ModuleDict(
        {
            "torch": nn.Dropout2d(0.11),
            "ours": GaussianDropout(0.12),
            "inserted": insert(nn.Sequential(nn.ReLU(), nn.Linear(2, 2)), Dropout(0.13))[0],
            "connect": DropConnect(nn.Linear(2, 2), 0.14),
            "depth": StochasticDepth(nn.Dropout(0.15), 0.16),
            "weight": WeightDrop(nn.GRU(2, 2, 2, dropout=0.17), 0.18),
            "zoneout": Zoneout(0.19),
            "lstm": nn.LSTM(2, 2, 2, dropout=0.21),
            "rnn": nn.RNN(2, 2, 3),
            "block": nn.TransformerEncoderLayer(4, 2, 8, dropout=0.22),
            "attention": Attention(0.23),
            "branch": DropBranch(0.24),
        }
    )


EVERYTHING = {
    "torch": 0.11,
    "ours": 0.12,
    "inserted.0.after": 0.13,
    "connect.drop": 0.14,
    "depth.branch": 0.15,
    "depth.drop": 0.16,
    "weight.rnn.dropout": 0.17,
    "weight.drop": 0.18,
    "zoneout": 0.19,
    "lstm.dropout": 0.21,
    "rnn.dropout": 0.0,
    "block.self_attn.dropout": 0.22,
    "block.dropout": 0.22,
    "block.dropout1": 0.22,
    "block.dropout2": 0.22,
    "attention.dropout": 0.23,
    "attention.drop": 0.7,
    "branch.p": 0.24,
}


def test_every_rate_is_listed():
    assert rates(everything()) == EVERYTHING


def test_every_rate_can_be_set_and_the_copy_alone_is():
    model = everything()
    wanted = {name: round(p / 2, 3) for name, p in EVERYTHING.items()}
    new, report = set_rates(model, wanted)
    assert rates(new) == wanted
    assert rates(model) == EVERYTHING
    assert set(report.changed) == EVERYTHING.keys()
    assert report.left == ()
    # The numbers are those that the modules read.
    assert new["lstm"].dropout == 0.105
    assert new["block"].self_attn.dropout == 0.11
    assert new["connect"].drop.p == 0.07
    same, _ = set_rates(model, 0.5, copy=False)
    assert same is model
    assert set(rates(model).values()) == {0.5}


def test_a_rate_that_was_set_is_the_rate_of_dropping():
    x = torch.ones(10_000)
    for layer in (nn.Dropout(0.5), Dropout(0.5), DropBranch(0.5)):
        new, _ = set_rates(nn.Sequential(layer), 0.2)
        torch.manual_seed(0)
        dropped = new(x).eq(0).double().mean()
        assert abs(dropped - 0.2) < 4 * math.sqrt(0.2 * 0.8 / x.numel())


def test_of_several_patterns_that_fit_the_last_counts():
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout()), nn.Dropout())
    new, report = set_rates(model, {"1*": 0.1, "*.1": 0.2})
    assert rates(new) == {"0": 0.5, "1.0": 0.1, "1.1": 0.2, "2": 0.5}
    assert report.changed == ("1.0", "1.1")


def test_the_root_and_shared_layers():
    assert rates(nn.Dropout(0.3)) == {"": 0.3}
    assert set_rates(nn.Dropout(0.3), 0.1)[0].p == 0.1
    assert rates(set_rates(nn.LSTM(2, 2, 2), {"dropout": 0.1})[0]) == {"dropout": 0.1}
    shared = Dropout(0.3)
    new, report = set_rates(nn.Sequential(shared, nn.Linear(2, 2), shared), 0.1)
    assert new[0] is new[2]
    assert report.changed == ("0",)


def test_what_cannot_be_set_is_left_and_listed():
    class Functional(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.3, self.training)

    model = nn.Sequential(
        nn.Dropout(), nn.LSTM(2, 2, dropout=0.0), Learned(), GaussianNoise(0.1), Functional()
    )
    model[1].dropout = 0.4
    new, report = set_rates(model, 0.1)
    assert report.changed == ("0",)
    assert report.left == (
        "1.dropout: acts between layers, and there is only one",
        "2: the rate of Learned cannot be set",
        "3: GaussianNoise has no rate p",
        "4: calls F.dropout with a rate written in the code",
    )
    assert rates(new) == {"0": 0.1, "2": 0.25}
    # What rates gives, set_rates takes.
    assert rates(set_rates(model, rates(model))[0]) == rates(model)
    with pytest.raises(ValueError, match=r"must be settable.*2: the rate of Learned cannot"):
        set_rates(model, {"2": 0.1})


def test_a_name_must_fit_and_a_rate_be_a_probability():
    model = nn.Sequential(nn.Dropout(0.2), GaussianDropout(0.3))
    with pytest.raises(ValueError, match=r"'encoder\.\*' must fit a rate of Sequential.*0, 1"):
        set_rates(model, {"0": 0.1, "encoder.*": 0.1}, copy=False)
    with pytest.raises(ValueError, match="must hold a dropout rate"):
        set_rates(nn.Linear(2, 2), 0.1)
    for wrong in (1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            set_rates(model, {"0": 0.1, "1": wrong}, copy=False)
    # Gaussian noise of rate 1 has no variance: refused by the layer, after the first was set.
    with pytest.raises(ValueError, match="p must"):
        set_rates(model, 1.0, copy=False)
    assert rates(model) == {"0": 0.2, "1": 0.3}


@pytest.mark.parametrize("change", [deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_rates_are_undone(change):
    new, report = set_rates(everything(), 0.9)
    new, report = change(new), change(report)
    back = report.undo(new)
    assert rates(back) == EVERYTHING
    assert set(rates(new).values()) == {0.9}
    assert report.undo(new, copy=False) is new
    assert rates(new) == EVERYTHING


def mlp():
    return nn.Sequential(
        Dropout(0.0), nn.Linear(64, 64), nn.ReLU(), DropConnect(nn.Linear(64, 64), 0.0)
    )


def test_compiled_code_follows_without_compiling_again():
    model = mlp()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(8, 64)
    exact = compiled(x)
    assert rates(compiled) == {"0": 0.0, "3.drop": 0.0}
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert torch.equal(compiled(x), exact)
        for p in torch.linspace(0.05, 0.95, 20).tolist():
            set_rates(compiled, {"0": p}, copy=False)
            torch.manual_seed(1)
            found = compiled(x)
            torch.manual_seed(1)
            torch.testing.assert_close(found, model(x))
            assert not torch.equal(found, exact)
        set_rates(model, 1.0, copy=False)
        assert torch.equal(compiled(x), model[3].layer.bias.expand(8, 64))
        set_rates(model, 0.0, copy=False)
        assert torch.equal(compiled(x), exact)


def test_torchs_layers_are_compiled_again_until_replaced():
    model = nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 4))
    x = torch.randn(2, 4)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(x)
    with torch._dynamo.config.patch(error_on_recompile=True):
        set_rates(model, 0.2, copy=False)
        with pytest.raises(torch._dynamo.exc.RecompileError):
            compiled(x)
        torch._dynamo.reset()
        ours = torch.compile(replace(model)[0], backend="eager", fullgraph=True)
        ours(x)
        set_rates(ours, 1.0, copy=False)
        assert torch.equal(ours(x), model[1].bias.expand(2, 4))


def test_schedules_by_name_in_compiled_training():
    model = mlp()
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(torch.randn(8, 64)).sum().backward()
    set_step = schedule_rates(compiled, {"*": constant(0.1), "3.*": linear(0.0, 1.0, steps=10)})
    with torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(12):
            set_step(step)
            expected = {"0": 0.1, "3.drop": pytest.approx(min(step / 10, 1.0))}
            assert rates(model) == expected
            out = compiled(torch.randn(8, 64))
            out.sum().backward()
    assert torch.equal(out, model[3].layer.bias.expand(8, 64))


def test_one_schedule_is_for_all_rates():
    net = nn.Sequential(nn.Dropout(0.3), nn.LSTM(4, 4, 2, dropout=0.2))
    schedule_rates(net, linear(0.0, 0.5, steps=10))(5)
    assert rates(net) == {"0": 0.25, "1.dropout": 0.25}


def test_names_are_those_of_before_compilation():
    compiled = partial(torch.compile, backend="eager")
    model = nn.Sequential(compiled(mlp()), nn.Dropout(0.3), compiled(nn.Dropout(0.4)))
    expected = {"0.0": 0.0, "0.3.drop": 0.0, "1": 0.3, "2": 0.4}
    assert rates(model) == expected
    assert rates(compiled(model)) == expected
    new, _ = set_rates(model, {"0.0": 0.2})
    assert rates(new) == expected | {"0.0": 0.2}


def test_a_schedule_must_fit_a_rate():
    with pytest.raises(ValueError, match="'head' must fit a rate"):
        schedule_rates(mlp(), {"0": constant(0.1), "head": constant(0.1)})


def test_no_rates_change_nothing():
    for net in (nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 2))):
        unchanged, report = set_rates(net, {})
        assert rates(unchanged) == rates(net)
        assert report.changed == ()


@pytest.mark.parametrize("p", [True, "0.5"])
def test_a_rate_is_a_number(p):
    net = nn.Sequential(nn.Dropout(0.3), nn.Linear(2, 2))
    with pytest.raises(TypeError, match="p must be a number"):
        set_rates(net, p)
    net = nn.Sequential(nn.Dropout(0.3), nn.Dropout(0.4))
    with pytest.raises(TypeError, match="p must be a number"):
        set_rates(net, {"0": 0.1, "1": p}, copy=False)
    assert rates(net) == {"0": 0.3, "1": 0.4}


def test_a_schedule_is_a_function():
    with pytest.raises(TypeError, match=r"'0' must have a function .* got 0\.1"):
        schedule_rates(nn.Sequential(nn.Dropout(0.3)), {"0": 0.1})
    with pytest.raises(TypeError, match=r"'\*' must have a function .* got 0\.1"):
        schedule_rates(nn.Sequential(nn.Dropout(0.3)), 0.1)

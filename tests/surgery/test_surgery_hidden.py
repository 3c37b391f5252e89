"""Activations of weights, and rates that are read elsewhere, handed on, or only shown."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from dropkit.noise import Dropout
from dropkit.surgery import Report, insert, rates, replace, set_rates, strip

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class InPlaceSwish(nn.Module):
    def forward(self, x):
        return x.mul_(torch.sigmoid(x))


def test_an_activation_may_work_in_place():
    _, report = insert(nn.Sequential(InPlaceSwish(), nn.Linear(4, 4)), Dropout(0.5))
    assert report.changed == ("0",)


class Softplus(nn.Module):
    def forward(self, x):
        return F.softplus(x)


def test_nothing_follows_what_computes_a_weight():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    parametrize.register_parametrization(net[0], "weight", Softplus())
    assert insert(net, Dropout(0.5))[1].changed == ("1",)


class Gated(nn.Module):
    """Has activations of a parameter, of units, and of both."""

    def __init__(self):
        super().__init__()
        self.linear, self.head, self.scale = nn.Linear(4, 4), nn.Linear(4, 4), nn.Parameter(X[0])
        self.gate, self.hidden, self.both = nn.Softplus(), nn.ReLU(), nn.Tanh()

    def forward(self, x):
        x = self.hidden(self.linear(x)) * self.gate(self.scale[None] + 1)
        return self.head(self.both(x) * self.both(self.scale))


def test_nothing_follows_an_activation_of_parameters():
    _, report = insert(Gated(), Dropout(0.5))
    assert report.changed == ("hidden", "both")
    assert report.left == ("gate: is applied to parameters, not to units",)


@pytest.mark.filterwarnings("ignore")
def test_nothing_follows_the_observers_of_quantization():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    net.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    net = torch.ao.quantization.prepare_qat(net)
    assert insert(net, Dropout(0.5))[1].changed == ("1",)


class Block(nn.Module):
    """Leaves it to others to drop at the rate of its layer."""

    def __init__(self):
        super().__init__()
        self.linear, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, x):
        return self.linear(x)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.out = Block(), nn.Dropout(0.5)

    def forward(self, x):
        return self.out(F.dropout(self.block(x), self.block.drop.p, self.training))


class ReaderOfAll(Reader):
    def forward(self, x):
        for block in [self.block]:
            x = F.dropout(block(x), block.drop.p, self.training)
        return self.out(x)


class ReaderByVariable(Reader):
    def forward(self, x):
        drop = self.block.drop
        return self.out(F.dropout(self.block(x), drop.p, self.training))


@pytest.mark.parametrize("kind", [Reader, ReaderOfAll, ReaderByVariable])
def test_a_layer_whose_rate_another_module_reads_stays_a_layer(kind):
    net, report = strip(kind())
    assert set(report.changed) == {"out", "block.drop"}
    assert torch.equal(net(X), net(X))
    net, report = replace(kind())
    assert report.changed == ("out",)
    assert f"block.drop: {kind.__name__} reads its p" in report.left


class Shown(nn.Module):
    """Stores a rate to show it; the layer acts."""

    def __init__(self):
        super().__init__()
        self.dropout, self.drop = 0.3, nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(x)

    def get_config(self):
        return {"dropout": self.dropout}


class Entered(nn.Module):
    """Acts in a method that only others call."""

    def __init__(self):
        super().__init__()
        self.dropout = 0.3

    def encode(self, x):
        return F.dropout(x, self.dropout, self.training)


def test_a_number_that_is_only_shown_is_no_rate():
    assert rates(Shown()) == {"drop": 0.3}
    with pytest.raises(ValueError, match="'dropout' must fit a rate"):
        set_rates(Shown(), {"dropout": 0.5})
    assert rates(Entered()) == {"dropout": 0.3}


class Configured(nn.Module):
    """Has a layer, and reads a number of the same name elsewhere instead of calling it."""

    def __init__(self):
        super().__init__()
        self.settings, self.dropout = SimpleNamespace(dropout=0.5), nn.Dropout(0.5)
        self.out = nn.Dropout(0.5)

    def forward(self, x):
        return self.out(F.dropout(x, self.settings.dropout, self.training))


class Held(Configured):
    """Calls a layer that an object holds."""

    def __init__(self):
        super().__init__()
        self.settings = SimpleNamespace(dropout=self.dropout)

    def forward(self, x):
        return self.out(self.settings.dropout(x))


def test_a_number_of_the_same_name_is_no_call():
    _, report = replace(Configured())
    assert report.changed == ("out",)
    assert "dropout: is not called in forward" in report.left
    assert set(replace(Held())[1].changed) == {"dropout", "out"}


class Given(nn.Module):
    """Drops at a rate that the caller passes."""

    def forward(self, x, dropout):
        if not self.training or not dropout:
            return x
        return x * x.new_empty(x.shape).bernoulli_(1 - dropout) / (1 - dropout)


class Giving(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropped, self.out = Given(), nn.Dropout(0.5)

    def forward(self, x):
        return self.out(self.dropped(x, 0.5))


class Prepared(nn.Module):
    """Holds a function with its rate."""

    def __init__(self):
        super().__init__()
        self.drop, self.out = partial(F.dropout, p=0.5), nn.Dropout(0.5)

    def forward(self, x):
        return self.out(self.drop(x, training=self.training))


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        (Giving, "dropped: drops at a rate that it does not store"),
        (Prepared, "the model: calls self.drop with a rate written in the code"),
    ],
)
def test_what_still_drops_is_listed(kind, left):
    net, report = strip(kind())
    assert not torch.equal(net(X), net(X))
    assert report.left == (left,)


class Listing(nn.Module):
    """Registers its layers by number, and calls them from a list."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = list(layers)
        for place, layer in enumerate(layers):
            self.add_module(str(place), layer)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Structure(nn.Module):
    """Has no forward pass; others call its methods."""

    def __init__(self):
        super().__init__()
        self.act, self.unused = nn.ReLU(), nn.ReLU()

    def shape(self, x):
        return self.act(x)


class Structured(nn.Module):
    def __init__(self):
        super().__init__()
        self.structure, self.out = Structure(), nn.Linear(4, 4)

    def forward(self, x):
        return self.out(self.structure.shape(x))


def test_layers_in_a_list_and_of_a_module_without_a_forward_pass_are_called():
    listing = Listing(nn.Linear(4, 4), nn.Tanh())
    assert insert(nn.Sequential(listing, nn.Linear(4, 4)), Dropout(0.5))[1] == Report(("0.1",))
    _, report = insert(Structured(), Dropout(0.5))
    assert report.changed == ("structure.act",)
    assert len(report.left) == 1


class Running(nn.Module):
    """Calls its block by a function, by an object, or by the hook of another layer."""

    def __init__(self, by):
        super().__init__()
        self.block, self.out = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4)
        self.first = nn.Identity()
        self.run = {
            "function": partial(self.block.__call__),
            "closure": lambda x, block=None: self.block(x),
            "object": SimpleNamespace(block=self.block).block.__call__,
        }.get(by, nn.Identity())
        block = self.block
        if by == "hook":
            self.first.register_forward_hook(lambda module, x, y: block(y))
        elif by == "method":
            self.first.register_forward_hook(self.hook)

    def hook(self, module, x, y):
        return self.block(y)

    def forward(self, x):
        return self.out(self.run(self.first(x)))


@pytest.mark.parametrize("by", ["function", "closure", "object", "hook", "method"])
def test_layers_that_functions_and_hooks_call_are_called(by):
    assert insert(Running(by), Dropout(0.5))[1] == Report(("block.1",))


def test_dropkits_layers_take_the_input_by_the_name_of_torchs():
    net, _ = replace(nn.Sequential(nn.Dropout(0.5)))
    assert torch.equal(net[0].eval()(input=X), X)


def test_a_copy_calls_its_own_layers_from_closures():
    net = nn.Sequential(Running("closure"), Running("hook"))
    new, _ = insert(net, Dropout(1.0))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(torch.nan)
    assert not new(X).isnan().any()
    assert not new[0].run(X).any()
    back = new.eval()(X)
    assert torch.equal(back, insert(new, Dropout(0.5), after=nn.Identity)[0].eval()(X))

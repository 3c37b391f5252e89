"""Which places surgery takes, which it leaves and why."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise import (
    AlphaDropout,
    DropConnect,
    Dropout,
    Dropout2d,
    EmbeddingDropout,
    FeatureAlphaDropout,
    GaussianDropout,
    LockedDropout,
    StochasticDepth,
    WordDropout,
    Zoneout,
)
from dropkit.noise._base import HoldsNoise
from dropkit.surgery import Report, insert, rates, replace, set_rates, strip


def tower():
    return nn.Sequential(
        nn.Dropout(0.1),
        nn.Sequential(nn.Dropout2d(0.2), Dropout(0.3)),
        nn.LSTM(4, 4, 2, dropout=0.4),
        nn.Sequential(nn.Dropout(0.5)),
    )


SELECTIONS = [
    (nn.Dropout, ("0", "3.0"), ()),
    ((nn.Dropout2d, nn.LSTM), ("1.0",), ("2.dropout",)),
    ("1.*", ("1.0", "1.1"), ()),
    ("[03]*", ("0", "3.0"), ()),
    ("2.dropout", (), ("2.dropout",)),
    (lambda name, module: name.startswith("1.") or name == "2", ("1.0", "1.1"), ("2.dropout",)),
    (None, ("0", "1.0", "1.1", "3.0"), ("2.dropout",)),
]


@pytest.mark.parametrize(("which", "layers", "numbers"), SELECTIONS)
def test_strip_a_selection(which, layers, numbers):
    model = tower()
    new, report = strip(model, which=which)
    assert report.changed == layers + numbers
    assert all(type(new.get_submodule(name)) is nn.Identity for name in layers)
    kept = {n: p for n, p in rates(model).items() if n not in layers + numbers}
    assert rates(new) == kept | dict.fromkeys(numbers, 0.0)


@pytest.mark.parametrize(("which", "layers", "numbers"), SELECTIONS)
def test_replace_a_selection(which, layers, numbers):
    model = tower()
    if not layers:
        with pytest.raises(ValueError, match=r"none among '2\.dropout'; 2\.dropout: 0\.4"):
            replace(model, Dropout(0.9), which=which)
        return
    new, report = replace(model, Dropout(0.9), which=which)
    assert report.changed == layers
    assert report.left == tuple(f"{name}: 0.4 is a number inside LSTM" for name in numbers)
    assert rates(new) == rates(model) | dict.fromkeys(layers, 0.9)


@pytest.mark.parametrize("operation", [lambda m, **o: replace(m, Dropout(0.5), **o), strip])
def test_a_selection_of_nothing(operation):
    for which in ("nope", nn.Linear, lambda name, module: False):
        with pytest.raises(ValueError, match="must hold a dropout layer"):
            operation(tower(), which=which)


def test_a_shared_layer_is_selected_under_any_of_its_names():
    shared = nn.Dropout(0.5)
    model = nn.Sequential(shared, nn.Linear(2, 2), nn.Sequential(shared))
    new, report = replace(model, Dropout(0.1), which="2.*")
    assert report.changed == ("0", "2.0")
    assert new[0] is new[2][0]
    relu = nn.ReLU()
    new, report = insert(nn.Sequential(relu, nn.Linear(2, 2), relu), Dropout(), after="2")
    assert report.changed == ("0",)


def test_replace_by_the_like_of_dropkit():
    kinds = {
        nn.Dropout: Dropout,
        nn.Dropout2d: Dropout2d,
        nn.AlphaDropout: AlphaDropout,
        nn.FeatureAlphaDropout: FeatureAlphaDropout,
    }
    model = nn.Sequential(*(kind(0.1 * i) for i, kind in enumerate(kinds)), LockedDropout(0.4))
    new, report = replace(model.eval())
    assert [type(layer) for layer in new] == [*kinds.values(), LockedDropout]
    assert rates(new) == pytest.approx(rates(model))
    assert report.changed == ("0", "1", "2", "3")
    assert not any(layer.training for layer in new)
    with pytest.raises(ValueError, match=r"must hold a dropout layer of torch "):
        replace(new)


class Named(nn.Dropout2d):
    pass


class Own(nn.Dropout):
    def forward(self, x):
        return super().forward(x) + 1


def test_subclasses_of_torch_layers():
    patched = nn.Dropout(0.3)
    patched.forward = lambda x: x
    model = nn.Sequential(Named(0.1), Own(0.2), patched)
    new, report = replace(model)
    reason = "has its own forward pass; pass a layer"
    assert report == Report(("0",), (f"1: Own {reason}", f"2: Dropout {reason}"))
    assert repr(new[0]) == "Dropout2d(p=0.1, batched=True)"
    assert [type(layer) for layer in new[1:]] == [Own, nn.Dropout]
    with pytest.raises(ValueError, match=f"torch that can be replaced.*; 1: Own {reason}"):
        replace(model, which=Own)
    assert replace(model, Dropout(0.5))[1] == Report(("0", "1", "2"))


def shared_dims(layer, shape):
    """The dimensions along which a layer's noise on ones is the same."""
    torch.manual_seed(0)
    y = layer(torch.ones(shape))
    return [dim for dim in range(y.dim()) if torch.equal(y, y.narrow(dim, 0, 1).expand_as(y))]


@pytest.mark.filterwarnings("ignore:dropout[23]d")
@pytest.mark.parametrize(
    ("kind", "dims"),
    [
        (nn.Dropout, (1, 2, 3)),
        (nn.Dropout1d, (2, 3)),
        (nn.Dropout2d, (2, 3, 4, 5)),
        (nn.Dropout3d, (2, 3, 4, 5, 6)),
        (nn.AlphaDropout, (1, 2, 3)),
        (nn.FeatureAlphaDropout, (2, 3, 4)),
    ],
)
def test_the_like_of_dropkit_reads_shapes_as_torch_does(kind, dims):
    twin, _ = replace(kind(0.5))
    for dim in dims:
        shape = (8 if dim < 6 else 5,) * dim
        assert shared_dims(twin, shape) == shared_dims(kind(0.5), shape)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = WordDropout(0.3, unknown=1)
        self.embed = EmbeddingDropout(nn.Embedding(9, 4), 0.2)
        self.cell, self.keep, self.drop = nn.GRUCell(4, 4), Zoneout(0.25), Dropout(0.5)

    def forward(self, tokens):
        h = torch.zeros(tokens.shape[0], 4)
        for x in self.embed(self.words(tokens)).unbind(1):
            h = self.keep(self.cell(x, h), h)
        return self.drop(h)


def test_noises_that_nothing_can_stand_in_for_are_left():
    model, tokens = Recurrent(), torch.randint(9, (3, 5))
    zoneout = "keep: Zoneout has its own forward pass, also in evaluation"
    new, report = replace(model, GaussianDropout(0.1))
    assert report.changed == ("drop",)
    assert report.left == (
        "words: WordDropout drops tokens, not units",
        "embed.drop: is part of EmbeddingDropout",
        zoneout,
    )
    new(tokens)
    new, report = strip(model)
    assert report.changed == ("words", "drop", "embed.drop")
    assert report.left == (zoneout,)
    assert rates(new) == {"embed.drop": 0.0, "keep": 0.25}
    new(tokens)
    torch.testing.assert_close(new.eval()(tokens), model.eval()(tokens))
    with pytest.raises(ValueError, match="keep: Zoneout"):
        strip(model, which="keep")


def test_variants_without_a_rate_are_left():
    class Learned(nn.Linear, HoldsNoise):
        pass

    model = nn.Sequential(Learned(2, 2), nn.Dropout(0.5))
    for operation in (strip, replace, lambda m: set_rates(m, 0.1)):
        assert operation(model)[1] == Report(("1",), ("0: Learned has no rate p",))


def test_variants_that_wrap_a_module_are_stripped_at_rate_0():
    torch.manual_seed(0)
    model = nn.Sequential(DropConnect(nn.Linear(4, 4), 0.5), StochasticDepth(nn.Linear(4, 4), 0.5))
    new, report = strip(model)
    assert report.changed == ("0.drop", "1.drop")
    assert list(new.state_dict()) == list(model.state_dict())
    x = torch.randn(3, 4)
    torch.testing.assert_close(new.train()(x), model.eval()(x))
    with pytest.raises(ValueError, match="nothing to remove"):
        strip(new)


class Reads(nn.Module):
    """Takes the rate from a layer that it never calls, as attention of other packages does."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        p = self.dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


def test_a_layer_whose_rate_is_read_stays_a_layer():
    model = nn.Sequential(Reads(), nn.Dropout(0.5))
    new, report = strip(model)
    assert report == Report(("1", "0.dropout"))
    assert new[0].dropout.p == 0
    x = torch.randn(1, 4, 4)
    assert torch.equal(new.train()(x), model.eval()(x))
    new, report = replace(model, GaussianDropout(0.1))
    assert report == Report(("1",), ("0.dropout: Reads reads its p",))
    assert torch.equal(report.undo(new).eval()(x), model(x))


class Calls(nn.Module):
    """Calls dropout as a function in many ways, and layers and builders that only look like it."""

    def __init__(self, way):
        super().__init__()
        self.way, self.rate, self.attn_drop = way, [0.5], 0.1
        self.dropout = nn.Identity()

    def forward(self, x):
        return x


class Module(Calls):
    def forward(self, x):
        return F.dropout(x, 0.5)


class Nested(Calls):
    def forward(self, x):
        return torch.nn.functional.alpha_dropout(x, self.rate[0], self.training)


class Attends(Calls):
    def forward(self, x):
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)


def attention(x, *, p):
    return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


class Helper(Calls):
    def forward(self, x):
        return attention(x, p=0.1)


class Inherits(Module):
    pass


class Held(Calls):
    def forward(self, x):
        x = F.scaled_dot_product_attention(x, x, x, dropout_p=0.0)
        return F.dropout(x, self.attn_drop, self.training)


class Both(Held):
    def forward(self, x):
        return F.dropout(F.dropout(F.dropout(x, 0.1), 0.2), self.attn_drop)


class Chosen(Calls):
    def forward(self, x):
        p = self.attn_drop if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


class Layer(Calls):
    def forward(self, x):
        dropout = self.dropout
        return dropout(self.dropout(x))


class Builds(Calls):
    def make(self):
        return nn.Dropout(0.5), Dropout(0.5)


class AfterLayer(Calls):
    def forward(self, x):
        x = nn.functional.relu(self.dropout(x))
        return F.dropout(x, 0.5, self.training)


class AfterHeld(Calls):
    def forward(self, x):
        x = F.dropout(x, self.attn_drop, self.training)
        return F.dropout(x, 0.5, self.training)


class AroundHeld(Calls):
    def forward(self, x):
        return F.dropout(F.dropout(x, self.attn_drop), 0.5)


class Creates(Calls):
    def forward(self, x):
        return nn.Dropout(0.5)(x)


class CreatesFirst(Calls):
    def forward(self, x):
        layer = torch.nn.Dropout(p=0.5)
        layer.train(self.training)
        return layer(x)


class CreatesHeld(Calls):
    def forward(self, x):
        return nn.Dropout(self.attn_drop)(x) if self.training else x


class AnotherSelf(Calls):
    def forward(net, x):
        return F.dropout(x, net.attn_drop, net.training)


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        (AfterLayer, "F.dropout"),
        (AfterHeld, "F.dropout"),
        (AroundHeld, "F.dropout"),
        (Creates, "nn.Dropout"),
        (CreatesFirst, "torch.nn.Dropout"),
        (CreatesHeld, None),
        (AnotherSelf, None),
        (Module, "F.dropout"),
        (Nested, "torch.nn.functional.alpha_dropout"),
        (Attends, "F.scaled_dot_product_attention"),
        (Inherits, "F.dropout"),
        (Helper, "attention"),
        (Both, "F.dropout"),
        (Held, None),
        (Chosen, None),
        (Layer, None),
        (Builds, None),
    ],
)
def test_dropout_called_as_a_function_is_listed(kind, call):
    model = nn.Sequential(nn.Dropout(0.5), kind("any"))
    if kind is AfterLayer:
        model[1].dropout = nn.Dropout(0.5)
    for _, report in (strip(model), replace(model, Dropout(0.1))):
        found = [line for line in report.left if "calls" in line]
        assert found == ([f"1: calls {call} with a rate written in the code"] if call else [])
    if call:
        with pytest.raises(ValueError, match=f"; the model: calls {call}"):
            replace(kind("any"))


class Passes(nn.Module):
    """Passes numbers to dropout, and others to functions that only look like it."""

    def __init__(self):
        super().__init__()
        self.p = self.by_name = self.created = self.attending = 0.5
        self.keep = self.block = 0.5

    def forward(self, x):
        x = F.dropout(torch.dropout(x, self.p, self.training), p=self.by_name)
        x = nn.Dropout(self.created)(x)
        x = drop_path(F.dropout(x, 1 - self.keep), self.block)
        p = self.attending
        return F.scaled_dot_product_attention(
            x, x, x, dropout_p=self.attending if self.training else 0.0, scale=p
        )


def drop_path(x, block):
    return x * block


def test_a_number_that_is_passed_to_dropout_is_a_rate():
    model = Passes()
    assert rates(model) == dict.fromkeys(("p", "by_name", "created", "attending"), 0.5)
    new, report = strip(model)
    assert report.left == ("the model: calls drop_path, F.dropout with a rate written in the code",)
    assert new.keep == new.block == 0.5


def test_a_number_that_a_function_takes_is_stripped():
    model = Held("any")
    new, report = strip(model)
    assert report == Report(("attn_drop",))
    x = torch.randn(1, 4, 4)
    assert torch.equal(new(x), model.eval()(x))
    assert report.undo(new).attn_drop == 0.1


class DropBranch(nn.Module):
    """A dropout layer as other packages have it."""

    def __init__(self, drop_prob):
        super().__init__()
        self.drop_prob = drop_prob

    def forward(self, x):
        return F.dropout(x, self.drop_prob, self.training)


def test_layers_of_other_packages():
    model = nn.Sequential(nn.Dropout(0.5), DropBranch(0.3))
    assert rates(model) == {"0": 0.5, "1.drop_prob": 0.3}
    new, report = replace(model, Dropout(0.1))
    assert report.changed == ("0",)
    assert report.left == ("1: DropBranch is of another package; select it, and pass a layer",)
    new, report = replace(model, Dropout(0.1), which=DropBranch)
    assert report == Report(("1",))
    assert rates(new) == {"0": 0.5, "1": 0.1}
    assert rates(report.undo(new)) == rates(model)
    new, report = strip(model)
    assert report.changed == ("0", "1.drop_prob")
    x = torch.ones(5)
    assert torch.equal(new(x), x)


class NewGELUActivation(nn.Module):
    def forward(self, x):
        return F.gelu(x, approximate="tanh")


def test_activations_of_other_packages_are_followed():
    model = nn.Sequential(nn.Linear(2, 2), NewGELUActivation(), nn.Linear(2, 2))
    assert insert(model, Dropout(0.5))[1].changed == ("1",)


def test_a_layer_with_parameters_takes_the_dtype_and_device_of_the_model():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    new, _ = insert(model.to("meta", torch.float64), nn.PReLU())
    weight = new[1].after.weight
    assert (weight.device.type, weight.dtype) == ("meta", torch.float64)


class Arbitrary(nn.Module):
    """Code in forward: an arithmetic residual, a reused layer, a function and a keyword."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(4, 4)

    def forward(self, x, *, scale=1.0):
        for layer in (self.first, self.second):
            x = x + scale * self.drop(self.act(layer(x)))
        return {"out": self.head(torch.relu(x))}


@pytest.mark.parametrize(
    "operation",
    [
        lambda model: insert(model, Dropout(0.5)),
        lambda model: insert(model, nn.Dropout(0.5), after="second"),
        lambda model: replace(model, Dropout(0.5)),
        replace,
        strip,
    ],
)
def test_the_result_compiles_exports_pickles_and_copies(operation):
    torch.manual_seed(0)
    model, x = Arbitrary(), torch.randn(3, 4)
    new, _ = operation(model)
    exact = model.eval()(x, scale=2.0)["out"]
    new.eval()
    torch._dynamo.reset()
    forms = [
        new,
        deepcopy(new),
        pickle.loads(pickle.dumps(new)),
        torch.compile(new, backend="eager", fullgraph=True),
        torch.export.export(new, (x,), {"scale": 2.0}).module(),
    ]
    for form in forms:
        torch.testing.assert_close(form(x, scale=2.0)["out"], exact)
    new.train()
    torch._dynamo.reset()
    compiled = torch.compile(new, backend="eager", fullgraph=True)
    drops = bool(rates(new))
    for form in (new, deepcopy(new), pickle.loads(pickle.dumps(new)), compiled):
        assert torch.equal(form(x)["out"], form(x)["out"]) != drops

"""Models of every kind: computed weights, any output, own activations, quantized and scripted."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from dropkit.noise import Dropout
from dropkit.surgery import Report, dropout_layers, insert, replace, set_rates, strip

X = torch.ones(2, 4)
Pair = namedtuple("Pair", "state rest")


class Zero(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x) if self.training else x


COMPUTED = {
    "weight_norm": weight_norm,
    "spectral_norm": spectral_norm,
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
    "parametrization": parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", COMPUTED)
@pytest.mark.parametrize("after", [nn.Linear, nn.ReLU])
def test_computed_weights_are_copied(how, after):
    torch.manual_seed(0)
    model = nn.Sequential(COMPUTED[how](nn.Linear(4, 8)), nn.ReLU(), nn.Dropout(0.5))
    model(X)  # from now on the weight has a history
    plain = model.eval()(X)
    new, report = insert(model, Zero(), after=after)
    assert torch.equal(new(X), plain)
    new(X).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert any(p.grad.any() for p in new.parameters())
    assert torch.equal(report.undo(new)(X), plain)
    assert not new.train()(X).any()
    for change in (replace, strip, lambda m: set_rates(m, 0.1)):
        assert change(model)[1].changed == ("2",)


def test_what_cannot_be_copied_says_how_to_do_without():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    model.stray = model(X)
    for change in (insert, replace, lambda m, layer: set_rates(m, 0.1)):
        with pytest.raises(ValueError, match=r"cannot be copied.*copy=False"):
            change(model, Dropout(0.5))
    new, report = insert(model, Dropout(0.5), copy=False)
    with pytest.raises(ValueError, match="copy=False"):
        report.undo(new)
    assert dropout_layers(report.undo(new, copy=False)) == []


@dataclass(frozen=True)
class Result:
    loss: torch.Tensor
    state: torch.Tensor
    label: str = "x"


class Returning(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


RETURNED = {
    "dict": lambda x: {"state": x, "rest": 1},
    "ordered": lambda x: OrderedDict(state=x, rest=x + 1),
    "named tuple": lambda x: Pair(x, x + 1),
    "list": lambda x: [x, x + 1],
    "nested": lambda x: (Pair(x, 0), x + 1),
    "loss first": lambda x: (x.sum(), x),
    "none first": lambda x: (None, x),
    "dataclass": lambda x: Result(x.sum(), x),
}


def parts(output):
    return vars(output) if isinstance(output, Result) else output


@pytest.mark.parametrize("kind", RETURNED)
def test_the_layer_acts_on_the_first_units_of_any_output(kind):
    model = Returning(RETURNED[kind])
    new, report = insert(model, Zero(), after=Returning)
    before, after = model(X), new(X)
    assert type(after) is type(before)
    found = str(parts(after))
    expected = str(parts(before)).replace(str(X), str(X * 0), 1)
    assert found == expected
    assert str(parts(report.undo(new)(X))) == str(parts(before))


def test_transformers_outputs_keep_their_type():
    outputs = pytest.importorskip("transformers.modeling_outputs")
    made = outputs.BaseModelOutput
    new, _ = insert(Returning(lambda x: made(last_hidden_state=x)), Zero(), after=Returning)
    got = new(X)
    assert type(got) is made
    assert not got.last_hidden_state.any()
    assert not got[0].any()


def test_an_output_without_units_is_named():
    new, _ = insert(Returning(lambda x: "text"), Zero(), after=Returning)
    with pytest.raises(TypeError, match="got str"):
        new(X)


def test_an_attribute_named_after_is_the_models_own():
    class Own(nn.Module):
        def __init__(self, after):
            super().__init__()
            self.after = after

        def forward(self, x):
            return x + 1

    for after in (3, nn.Linear(4, 4)):
        model = nn.Sequential(Own(after), nn.ReLU(), nn.Linear(4, 4))
        new, report = insert(model, Zero(), after=lambda name, _: name in "01" and name)
        assert report == Report(("1",), ("0: already has an attribute named 'after'",))
        assert torch.equal(report.undo(new)(X), model(X))
        assert type(new[0].after) is type(after)


@pytest.mark.filterwarnings("ignore")
def test_dynamic_quantization_takes_the_layer_along():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    new, _ = insert(model, Zero(), after="0")

    def quantized(net):
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)

    both = quantized(new)
    assert torch.equal(both(X), quantized(model)(X))
    assert torch.equal(both.train()(X), both[2](torch.zeros(2, 8)))
    assert isinstance(both[0].after, Zero)


def test_an_exchanged_layer_is_the_one_that_quantization_takes():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)).eval()
    new, _ = replace(insert(model, Dropout(0.1), after="0")[0], Zero())
    (hook,) = new[0]._forward_hooks.values()
    assert hook.__self__.layer is new[0].after
    assert isinstance(new[0].after, Zero)


@pytest.mark.filterwarnings("ignore")
def test_torch_layers_that_were_inserted_can_be_scripted():
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 4))
    scripted = torch.jit.script(insert(model, nn.Dropout(0.5))[0])
    assert not torch.equal(scripted(X), scripted(X))
    torch.testing.assert_close(scripted.eval()(X), model(X))


class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Sigmoid()

    def forward(self, x):
        return x * self.gate(x)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Snake(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x + torch.sin(self.alpha * x).square() / self.alpha


class Scale(nn.Module):
    def forward(self, x):
        return 2 * x + 1


class Norm(nn.Module):
    def forward(self, x):
        return x / x.norm(dim=-1, keepdim=True)


class Positional(nn.Module):
    def forward(self, x):
        return torch.relu(x) * torch.arange(x.shape[-1])


class Failing(nn.Module):
    def forward(self, x):
        raise RuntimeError("never")


@pytest.mark.parametrize("kind", [Swish, QuickGELU, Snake, nn.GELU, nn.PReLU, nn.ReLU6])
def test_activations_are_known_by_what_they_do(kind):
    model = nn.Sequential(kind(), nn.Linear(4, 4))
    state = torch.get_rng_state()
    new, report = insert(model, Zero())
    assert report == Report(("0",))
    assert not new[0](X).any()
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", [Scale, Norm, Positional, Failing, nn.Identity, nn.Softmax])
def test_what_is_no_activation(kind):
    _, report = insert(nn.Sequential(kind(), nn.ReLU(), nn.BatchNorm1d(4), nn.Linear(4, 4)), Zero())
    assert report == Report(("1",))


def test_torch_encoders_end_with_no_activation():
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=nn.GELU(), batch_first=True)
    _, report = insert(nn.TransformerEncoder(layer, 2), Dropout(0.5))
    assert report == Report(("layers.0.activation", "layers.1.activation"))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        return self.act(self.b(self.act(self.a(x))))


def test_a_refusal_gives_the_true_reason():
    with pytest.raises(ValueError, match=r"each is left; act: makes the model's output, in one of"):
        insert(Twice(), Dropout(0.5))
    with pytest.raises(ValueError, match="none was found; activations called as functions"):
        insert(nn.Linear(2, 2), Dropout(0.5))


class Branching(nn.Module):
    """Its forward pass cannot be followed, and its output activation is registered first."""

    def __init__(self):
        super().__init__()
        self.end, self.first, self.act = nn.Sigmoid(), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x):
        if x.sum() > 0:
            x = self.act(self.first(x))
        return self.end(x)


def test_the_output_layer_of_a_branching_model_is_found_in_its_code():
    assert insert(Branching(), Zero())[1] == Report(("act",), ("end: makes the model's output",))

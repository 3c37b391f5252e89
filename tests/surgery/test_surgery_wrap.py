"""Wrapping keeps every weight, puts the variant where it was asked for, and can be undone."""

import pickle
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from dropkit import noise
from dropkit.surgery import insert, rates, wrap


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Language(nn.Module):
    """Reads attributes of its layers, and ties the output to the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(9, 6), nn.LSTM(6, 6, 2)
        self.middle, self.conv = nn.Linear(6, 6), nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, tokens):
        self.rnn.flatten_parameters()
        x = self.embedding(tokens)
        state = x.new_zeros(self.rnn.num_layers, x.shape[1], self.rnn.hidden_size)
        x = self.rnn(x, (state, state))[0]
        x = self.middle(x).view(-1, self.conv.in_channels, self.middle.out_features)
        x = self.conv(x) + self.conv.bias
        return nn.functional.linear(x, self.embedding.weight)


def mlp():
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def encoder():
    layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


VARIANTS = {
    "DropConnect": (mlp, noise.DropConnect, nn.Linear),
    "TargetedDropout": (mlp, noise.TargetedDropout, "0"),
    "ConcreteDropout": (mlp, partial(noise.ConcreteDropout, p=0.5), nn.Linear),
    "VariationalDropout": (mlp, partial(noise.VariationalDropout, log_variance=-3), nn.Linear),
    "MultiSampleDropout": (mlp, noise.MultiSampleDropout, "2"),
    "StochasticDepth": (mlp, noise.StochasticDepth, "0"),
    "WeightDrop": (Recurrent, noise.WeightDrop, nn.LSTM),
    "HeadDropout": (encoder, partial(noise.HeadDropout, p=0.5), nn.MultiheadAttention),
}


def net_and_input(make):
    torch.manual_seed(0)
    return make(), torch.randn(5, 4, 6)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_that_takes_a_layer(name):
    make, variant, which = VARIANTS[name]
    model, x = net_and_input(make)
    before = list(model.parameters())
    new, report = wrap(model, variant, which, copy=False)
    assert report.changed
    assert all(type(new.get_submodule(place)).__name__ == name for place in report.changed)
    assert {id(p) for p in before} <= {id(p) for p in new.parameters()}
    assert not torch.equal(new(x), new(x))

    optimizer = torch.optim.SGD(before, lr=0.1)
    new(x).square().mean().backward()
    optimizer.step()
    back = report.undo(new, copy=False)
    assert [id(p) for p in back.parameters()] == [id(p) for p in before]
    assert list(back.state_dict()) == list(net_and_input(make)[0].state_dict())
    assert torch.equal(back(x), back(x))
    assert not torch.equal(back(x), net_and_input(make)[0](x))  # trained since


@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - {"StochasticDepth"}))  # adds its input
def test_in_evaluation_the_network_computes_what_it_did(name):
    make, variant, which = VARIANTS[name]
    model, x = net_and_input(make)
    model.eval()
    new, _ = wrap(model, variant, which)
    assert not any(module.training for module in new.modules())
    with torch.no_grad():
        assert torch.allclose(new(x), model(x), atol=1e-5)


@pytest.mark.parametrize(
    "variant",
    [noise.DropConnect, noise.TargetedDropout, noise.ConcreteDropout, noise.VariationalDropout],
)
def test_padded_sequences_in_evaluation(variant):
    """``nn.TransformerEncoder`` reads the weights of linear layers before it calls them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    new, _ = wrap(model, variant, "*.linear?")
    x, padding = torch.randn(3, 5, 8), torch.arange(5) >= torch.tensor([[5], [3], [2]])
    with torch.no_grad():
        expected, found = (net(x, src_key_padding_mask=padding) for net in (model, new))
    assert torch.allclose(found[~padding], expected[~padding], atol=1e-5)


def test_what_acts_after_the_layer_and_after_the_variant():
    model, x = net_and_input(mlp)
    model, _ = insert(model.eval(), nn.Softplus(), after="0")
    new, report = wrap(model, noise.DropConnect, "0")
    assert torch.equal(new(x), model(x))
    new, _ = insert(new, nn.Tanh(), after="0")
    assert torch.equal(report.undo(new)(x), new(x))
    assert not torch.equal(new(x), model(x))


def test_a_copy_is_changed_and_modes_stay_as_they_are():
    model = mlp()
    model[2].eval()
    new, report = wrap(model, noise.DropConnect, nn.Linear)
    assert isinstance(model[0], nn.Linear)
    assert new[0].training
    assert new[0].drop.training
    assert not new[2].training
    assert not new[2].drop.training
    assert rates(new) == {"0.drop": 0.5, "2.drop": 0.5}
    assert not report.undo(new)[2].training
    assert isinstance(new[2], noise.DropConnect)


def language():
    torch.manual_seed(0)
    model = Language()
    for variant, which in (
        (noise.EmbeddingDropout, nn.Embedding),
        (noise.WeightDrop, nn.LSTM),
        (noise.VariationalDropout, nn.Linear),
        (noise.DropConnect, nn.Conv1d),
    ):
        model, _ = wrap(model, variant, which, copy=False)
    return model


def test_code_that_reads_attributes_of_the_layer_finds_them():
    model, tokens = language(), torch.randint(9, (5, 2))
    expected = Language().eval()
    plain = {key: value for key, value in model.state_dict().items() if "log_" not in key}
    expected.load_state_dict(dict(zip(expected.state_dict(), plain.values(), strict=True)))
    torch._dynamo.reset()
    for form in (
        deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.compile(model, backend="eager"),
    ):
        assert not torch.equal(form(tokens), form(tokens))
        torch.testing.assert_close(form.eval()(tokens), expected(tokens))


def test_what_neither_the_variant_nor_its_layer_has():
    model = language()
    for name, layer in model.named_children():
        assert not hasattr(layer, "nothing")
        with pytest.raises(AttributeError, match=f"'{type(layer).__name__}' .* 'nothing'"):
            _ = layer.nothing
        assert not hasattr(layer, "_nothing")
        new, _ = insert(model, nn.Dropout(0.5), after=f"{name}.*" if name != "rnn" else "rnn.rnn")
        assert not hasattr(new.get_submodule(name), "after"), "it belongs to the layer"


def test_names_of_one_layer_share_the_variant():
    shared = nn.Linear(3, 3)
    model = nn.ModuleDict({"a": shared, "b": nn.Sequential(nn.ReLU(), shared)})
    new, report = wrap(model, noise.DropConnect, "b.1", copy=False)
    assert report.changed == ("a", "b.1")
    assert new["a"] is new["b"][1]
    back = report.undo(new, copy=False)
    assert back["a"] is shared
    assert back["b"][1] is shared
    attention = nn.MultiheadAttention(4, 2)
    new, report = wrap(
        nn.ModuleList([attention, attention]), noise.HeadDropout, nn.MultiheadAttention
    )
    assert new[0] is new[1]
    back = report.undo(new)
    assert back[0] is back[1]
    assert type(back[0]) is nn.MultiheadAttention


def test_a_layer_inside_one_that_is_wrapped_too():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))

    def variant(layer):
        kind = noise.DropConnect if isinstance(layer, nn.Linear) else noise.StochasticDepth
        return kind(layer)

    inner, outer = model[0][0], model[0]
    new, report = wrap(model, variant, lambda name, _: name in {"0", "0.0"}, copy=False)
    assert report.changed == ("0", "0.0")
    assert new[0].branch is outer
    assert new[0].branch[0].layer is inner
    back = report.undo(new, copy=False)
    assert back[0] is outer
    assert back[0][0] is inner


def test_the_model_itself():
    layer = nn.Linear(4, 2)
    new, report = wrap(layer, noise.DropConnect, nn.Linear, copy=False)
    assert new.layer is layer
    assert report.changed == ("",)
    assert report.undo(new, copy=False) is layer


def test_what_is_held_or_never_called_is_left():
    model = nn.Sequential(
        noise.DropConnect(nn.Linear(6, 6)),
        nn.TransformerEncoderLayer(6, 2, 8),
        noise.Standout(nn.ReLU()),
    )
    new, report = wrap(model, noise.DropConnect, nn.Linear)
    assert report.changed == ("1.linear1", "1.linear2")
    assert report.left == (
        "0.layer: is held by DropConnect",
        "1.self_attn.out_proj: is not called: attention reads its weights",
    )
    with pytest.raises(ValueError, match=r"selects none; 0.layer: is held by DropConnect"):
        wrap(new, noise.DropConnect, nn.Linear)
    with pytest.raises(ValueError, match=r"selects none; 2.activation: is held by Standout"):
        wrap(model, noise.Standout, nn.ReLU)


def test_undo_after_copying_pickling_and_further_surgery():
    model, x = net_and_input(mlp)
    new, report = wrap(model, noise.DropConnect, nn.Linear)
    new, _ = insert(new, nn.Dropout(1.0), after="0")
    new, report = pickle.loads(pickle.dumps((new, report)))
    back = report.undo(new)
    assert isinstance(back[0], nn.Linear)
    assert torch.equal(back(x), model[1:](torch.zeros(5, 4, 6)))  # what was inserted still acts
    assert torch.equal(back.eval()(x), model(x))


def test_attention_comes_back_in_todays_mode():
    new, report = wrap(encoder(), noise.HeadDropout, nn.MultiheadAttention)
    back = report.undo(new.eval())
    assert not any(module.training for module in back.modules())


def test_a_report_holds_no_weights():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(256, 2)
    _, report = wrap(attention, noise.HeadDropout, nn.MultiheadAttention)
    assert len(pickle.dumps(report)) < 10_000


class Doubled(nn.Module):
    """Keeps a copy of the layer alone."""

    def __init__(self, layer):
        super().__init__()
        self.other = deepcopy(layer)


@pytest.mark.parametrize(
    ("variant", "which", "error", "said"),
    [
        (noise.DropConnect, nn.Conv2d, ValueError, "selects none"),
        (noise.WeightDrop, "2", ValueError, "2 cannot be wrapped: rnn must be"),
        (Doubled, nn.Linear, ValueError, "0 cannot be wrapped: Doubled must hold the layer"),
        (lambda _: None, nn.Linear, TypeError, "must return a module, got NoneType"),
        (noise.DropConnect, 3, TypeError, "places must be selected by"),
    ],
)
def test_what_cannot_be(variant, which, error, said):
    model = mlp()
    with pytest.raises(error, match=said):
        wrap(model, variant, which, copy=False)
    assert [type(layer) for layer in model] == [nn.Linear, nn.ReLU, nn.Linear]


@pytest.mark.parametrize(
    "variant",
    [
        noise.DropConnect,
        noise.TargetedDropout,
        noise.ConcreteDropout,
        noise.VariationalDropout,
    ],
)
def test_a_lazy_layer_must_be_initialized(variant):
    model = nn.Sequential(nn.LazyLinear(3), nn.ReLU())
    with pytest.raises(ValueError, match="0 cannot be wrapped: the weight of LazyLinear must be"):
        wrap(model, variant, "0")
    model(torch.randn(2, 4))
    wrap(model, variant, "0")[0](torch.randn(2, 4))


def test_one_layer_refused_leaves_all_as_they_were():
    model = nn.Sequential(nn.Linear(4, 4), nn.Identity())
    with pytest.raises(ValueError, match="1 cannot be wrapped: layer must have a parameter"):
        wrap(model, noise.DropConnect, lambda name, _: name in {"0", "1"}, copy=False)
    assert type(model[0]) is nn.Linear

"""Surgery keeps what it does not change, and says what it does."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from dropkit._graph import is_seen
from dropkit.noise import Dropout, GaussianDropout
from dropkit.surgery import Report, dropout_layers, insert, replace, strip


class Zero(nn.Module):
    """Stands in for dropout with p = 1: whatever it acts on becomes zero, in training only."""

    def forward(self, x):
        return torch.zeros_like(x) if self.training else x


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


class Late(nn.Module):
    """Registers its layers in another order than it calls them, one of them called twice."""

    def __init__(self, end=None):
        super().__init__()
        self.end = end if end is not None else nn.Sigmoid()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        return self.end(self.third(x)).squeeze(-1)


def keys_and_values_kept(before, after):
    assert list(before) == list(after)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), after.values(), strict=True))


def test_insert_after_every_activation():
    model = mlp()
    new, report = insert(model, Dropout(0.3))
    assert report == Report(changed=("1", "3"))
    assert [(n, m.p) for n, m in dropout_layers(new)] == [("1.after", 0.3), ("3.after", 0.3)]
    assert new[1].after is not new[3].after
    keys_and_values_kept(model.state_dict(), new.state_dict())
    assert dropout_layers(model) == []
    assert not model[1]._forward_hooks


def test_the_inserted_layer_acts_where_it_was_put():
    x = torch.randn(5, 4)
    model = mlp()
    new, _ = insert(model, Zero())
    bias_alone = model[4].bias.expand(5, 2)
    assert torch.equal(new.train()(x), bias_alone)
    assert torch.equal(new.eval()(x), model(x))
    only_first, _ = insert(model, Zero(), after="1")
    assert torch.equal(only_first.train()(x), model[4](model[3](model[2](torch.zeros(5, 8)))))


def test_insert_in_place():
    model = mlp()
    same, _ = insert(model, Zero(), copy=False)
    assert same is model
    assert len(model[1]._forward_hooks) == 1


@pytest.mark.parametrize(
    ("after", "places"),
    [
        (nn.Linear, ("0", "2", "4")),
        ((nn.Tanh, nn.ReLU), ("1", "3")),
        ("[02]", ("0", "2")),
        ("*", ("", "0", "1", "2", "3", "4")),
        (lambda name, module: getattr(module, "out_features", 0) == 2, ("4",)),
    ],
)
def test_insert_after_a_selection(after, places):
    model = mlp()
    new, report = insert(model, Zero, after=after)
    assert report.changed == places
    keys_and_values_kept(model.state_dict(), new.state_dict())
    for name in places:
        assert isinstance(new.get_submodule(name).after, Zero)


def test_insert_after_the_root():
    layer = nn.Linear(3, 2)
    new, report = insert(layer, Zero(), after=nn.Linear)
    assert report.changed == ("",)
    assert type(new) is nn.Linear
    assert not new(torch.ones(1, 3)).any()
    keys_and_values_kept(layer.state_dict(), new.state_dict())


def test_default_spares_what_makes_the_output():
    new, report = insert(nn.Sequential(mlp(), nn.Sigmoid(), nn.Flatten()), Zero())
    assert report.changed == ("0.1", "0.3")
    assert report.left == ("1: makes the model's output",)
    # Called last though registered first, and the other way round.
    new, report = insert(Late(), Zero())
    assert report == Report(("act",), ("end: makes the model's output",))
    assert not new.first(torch.ones(4)).eq(0).all()
    model = Late(end=nn.Identity())
    model.third = nn.Sequential(nn.Linear(4, 1), model.act)
    with pytest.raises(ValueError, match="output, in one of its calls"):
        insert(model, Zero())


def test_default_guesses_by_registration_where_the_forward_pass_branches():
    class Branching(nn.Sequential):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    _, report = insert(Branching(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.Tanh()), Zero())
    assert report == Report(("1",), ("3: makes the model's output",))


def test_after_a_chain_the_layer_acts_once():
    chain = nn.Sequential(mlp(), nn.Sequential(nn.Linear(2, 2), nn.Identity()))
    x = torch.randn(5, 4)
    for after in ("1", ""):
        new, report = insert(chain, Scale(3), after=after)
        torch.testing.assert_close(new(x), 3 * chain(x))
        assert not is_seen(new)
        assert not is_seen(new[1])
        torch.testing.assert_close(report.undo(new)(x), chain(x))


def test_containers_with_a_forward_pass_of_their_own_are_left_out():
    class Own(nn.Sequential):
        def forward(self, x):
            for layer in self:
                x = layer(x)
            return x

    model = nn.Sequential(nn.ReLU(), Own(nn.Linear(2, 2)))
    _, report = insert(model, Zero(), after=lambda name, _: name in ("0", "1"))
    assert report.changed == ("0",)
    assert report.left == ("1: may also call the new layer as a child; select a layer inside it",)
    with pytest.raises(ValueError, match="1: may also call the new layer"):
        insert(model, Zero(), after=Own)


def test_shared_modules_stay_shared():
    model = mlp()
    model[3] = model[1]
    new, report = insert(model, Zero())
    assert report.changed == ("1",)
    assert new[3] is new[1]
    assert len(new[1]._forward_hooks) == 1
    shared = nn.Dropout(0.5)
    model = nn.Sequential(nn.Linear(2, 2), shared, nn.Sequential(shared), nn.Dropout(0.2), shared)
    new, report = replace(model, GaussianDropout(0.1))
    assert report.changed == ("1", "3", "4", "2.0")
    assert new[1] is new[2][0] is new[4]
    assert new[1] is not new[3]


def test_modes_and_dtypes_are_kept():
    model = mlp().double()
    model[1].eval()
    new, _ = insert(model, Zero())
    assert [new[1].after.training, new[3].after.training] == [False, True]
    assert {p.dtype for p in new.parameters()} == {torch.float64}
    model = nn.Sequential(nn.Dropout().eval(), nn.Dropout()).train()
    model[0].eval()
    for new, _ in (replace(model, Dropout(0.2)), strip(model)):
        assert [layer.training for layer in new] == [False, True]
    assert new.training


def test_the_layer_follows_the_mode_of_the_model():
    new, _ = insert(mlp(), Zero())
    assert not any(m.training for m in new.eval().modules())
    assert all(m.training for m in new.train().modules())


def test_survives_copy_pickle_and_compilation():
    x = torch.randn(3, 4)
    model = mlp()
    new, _ = insert(model, Zero())
    expected = model[4].bias.expand(3, 2)
    assert torch.equal(deepcopy(new)(x), expected)
    assert torch.equal(pickle.loads(pickle.dumps(new))(x), expected)
    compiled = torch.compile(new, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), expected)
    assert torch.equal(compiled.eval()(x), model(x))
    exported = torch.export.export(new.eval(), (x,))
    torch.testing.assert_close(exported.module()(x), model(x))


def test_acts_on_the_first_output_of_recurrent_and_attention_layers():
    lstm, _ = insert(nn.LSTM(3, 4), Zero(), after=nn.LSTM)
    outputs, (hidden, cell) = lstm(torch.randn(5, 2, 3))
    assert not outputs.any()
    assert hidden.any()
    assert cell.any()
    packed, hidden = lstm(pack_sequence([torch.randn(3, 3), torch.randn(2, 3)]))
    assert not packed.data.any()
    assert packed.batch_sizes.tolist() == [2, 2, 1]
    attention, _ = insert(nn.MultiheadAttention(4, 2), Zero(), after=nn.MultiheadAttention)
    outputs, weights = attention(*[torch.randn(5, 2, 4)] * 3)
    assert not outputs.any()
    assert weights.any()


def test_a_transformer_keeps_its_eval_output():
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = torch.randn(2, 5, 8)
    new, report = insert(model, Zero(), after=nn.Linear)
    assert report.changed == ("linear1", "linear2")
    assert report.left == ("self_attn.out_proj: is not called: attention reads its weights",)
    torch.testing.assert_close(new.eval()(x), model.eval()(x))
    with torch.no_grad():  # the fast path reads the weights and would skip the layers
        torch.testing.assert_close(new(x), model(x))


def test_replace_every_kind():
    kinds = [nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, Dropout]
    model = nn.Sequential(nn.Linear(2, 2), *(kind(0.4) for kind in kinds))
    new, report = replace(model, lambda: GaussianDropout(0.1))
    assert report.changed == tuple("123456")
    assert [m.p for _, m in dropout_layers(new)] == [0.1] * 6
    assert [type(m) for m in model[1:]] == kinds
    same, _ = replace(model, GaussianDropout(0.1), copy=False)
    assert same is model
    assert len({id(m) for m in model}) == 7


def test_inserted_layers_can_be_replaced_and_stripped():
    x = torch.randn(3, 4)
    model = mlp()
    new, report = replace(insert(model, Dropout(0.5))[0], GaussianDropout(0.2))
    assert report.changed == ("1.after", "3.after")
    bare, report = strip(new)
    assert report.changed == ("1.after", "3.after")
    assert torch.equal(bare.train()(x), model(x))


def test_the_root_may_be_the_dropout_layer():
    new, report = replace(nn.Dropout(0.5).eval(), Dropout(0.2))
    assert (type(new), new.p, new.training, report.changed) == (Dropout, 0.2, False, ("",))
    assert isinstance(strip(nn.Dropout(0.5))[0], nn.Identity)
    assert [name for name, _ in dropout_layers(nn.Dropout(0.5))] == [""]


def test_dropout_that_is_a_number_is_listed_or_set_to_zero():
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(2, 2, 2, dropout=0.3),
            "gru": nn.GRU(2, 2),
            "rnn": nn.RNN(2, 2, 2),
            "block": nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1),
        }
    )
    layers = ("block.dropout", "block.dropout1", "block.dropout2")
    _, report = replace(model, Dropout(0.2))
    assert report.changed == layers
    assert report.left == (
        "lstm.dropout: 0.3 is a number inside LSTM",
        "block.self_attn.dropout: 0.1 is a number inside MultiheadAttention",
    )
    bare, report = strip(model)
    assert report.changed == (*layers, "lstm.dropout", "block.self_attn.dropout")
    assert bare["lstm"].dropout == bare["block"].self_attn.dropout == 0.0
    assert (model["lstm"].dropout, model["block"].self_attn.dropout) == (0.3, 0.1)
    x = torch.randn(5, 2, 4)
    assert torch.equal(bare["block"].train()(x), bare["block"](x))


def test_nothing_matched():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return torch.relu(self.layer(x))

    with pytest.raises(ValueError, match=r"F\.relu\(x\).*add nn\.Dropout layers"):
        insert(Functional(), Dropout(0.5))
    with pytest.raises(ValueError, match=r"'nope\.\*' selects none.*named_modules"):
        insert(mlp(), Dropout(0.5), after="nope.*")
    with pytest.raises(ValueError, match="out_proj: is not called"):
        insert(nn.MultiheadAttention(4, 2), Dropout(0.5), after="out_proj")
    for operation in (lambda: replace(mlp(), Dropout(0.5)), lambda: strip(mlp())):
        with pytest.raises(ValueError, match="must hold a dropout layer"):
            operation()
    with pytest.raises(ValueError, match="number inside LSTM"):
        replace(nn.LSTM(2, 2, 2, dropout=0.5), Dropout(0.5))


def test_refuses_a_second_layer_and_what_is_no_layer():
    model = mlp()
    once, _ = insert(model, Dropout(0.5))
    with pytest.raises(ValueError, match=r"1 has a layer after it already; exchange it"):
        insert(once, Dropout(0.5), copy=False)
    assert len(once[1]._forward_hooks) == 1
    with pytest.raises(TypeError, match="function that makes one, got float"):
        insert(model, lambda: 0.5)

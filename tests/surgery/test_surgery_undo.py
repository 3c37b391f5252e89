"""Undo gives the model back as it was, also after training, copies and pickles."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

from dropkit.noise import DropConnect, Dropout, GaussianDropout, StochasticDepth
from dropkit.scaling import to_classic
from dropkit.surgery import insert, rates, replace, set_rates, strip


def net():
    torch.manual_seed(0)
    shared = nn.Dropout(0.3)
    return nn.Sequential(
        nn.Linear(6, 6),
        nn.ReLU(),
        shared,
        DropConnect(nn.Linear(6, 6), 0.2),
        nn.Tanh(),
        StochasticDepth(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), shared), 0.1),
        GaussianDropout(0.4),
        nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1),
        nn.Linear(6, 2),
    )


OPERATIONS = {
    "insert": lambda model: insert(model, Dropout(0.5)),
    "insert after": lambda model: insert(model, nn.LayerNorm(6), after="[0-6]"),
    "replace": lambda model: replace(model, lambda: GaussianDropout(0.7)),
    "replace by twins": replace,
    "strip": strip,
    "strip some": lambda model: strip(model, which="[2-5]*"),
    "set rates": lambda model: set_rates(model, 0.9),
}


def same(a, b):
    """The same layers, rates, modes, names and weights, and the same output from the same seed."""
    x = torch.randn(5, 3, 6)
    outputs = []
    for model in (a, b):
        torch.manual_seed(3)
        outputs.append(model(x))
    states = a.state_dict(), b.state_dict()
    return (
        str(a) == str(b)
        and rates(a) == rates(b)
        and [m.training for m in a.modules()] == [m.training for m in b.modules()]
        and list(states[0]) == list(states[1])
        and all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        and torch.equal(*outputs)
        and [len(m._forward_hooks) for m in a.modules()]
        == [len(m._forward_hooks) for m in b.modules()]
    )


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize(
    "change", [lambda both: both, deepcopy, lambda both: pickle.loads(pickle.dumps(both))]
)
def test_undone(name, change):
    model = net()
    new, report = OPERATIONS[name](model)
    assert not same(new, model)
    new, report = change((new, report))
    before = str(new)
    back = report.undo(new)
    assert same(back, model)
    assert back[2] is back[5].branch[2]
    assert str(new) == before, "undo works on a copy"
    assert same(report.undo(new, copy=False), model)
    # A report can be used again, for another copy of what the operation returned.
    again = report.undo(OPERATIONS[name](model)[0])
    assert same(again, model)
    assert again[2] is not back[2]


@pytest.mark.parametrize("name", OPERATIONS)
def test_weights_mode_and_dtype_of_today_are_kept(name):
    model = net()
    new, report = OPERATIONS[name](model)
    new.double().eval()
    with torch.no_grad():
        for parameter in new.parameters():
            parameter += 1
    back = report.undo(new)
    assert not any(module.training for module in back.modules())
    kept = model.state_dict()
    assert list(back.state_dict()) == list(kept)
    for key, value in back.state_dict().items():
        torch.testing.assert_close(value, kept[key].double() + 1)


def test_several_operations_last_one_first():
    model = net()
    first, one = insert(model, Dropout(0.5))
    second, two = replace(first, lambda: GaussianDropout(0.2))
    third, three = strip(second)
    assert same(one.undo(two.undo(three.undo(third))), model)


def test_a_layer_put_after_a_dropout_layer_goes_with_the_place():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))
    first, one = insert(model, nn.PReLU(init=2.0), after="1")
    second, two = replace(first, GaussianDropout(0.2))
    assert type(second[1].after) is nn.PReLU
    x = torch.randn(3, 4)
    assert torch.equal(second.eval()(x), first.eval()(x))
    assert not torch.equal(second(x), model.eval()(x))
    one, two = deepcopy((one, two))
    with torch.no_grad():
        second[1].after.weight += 1
    back = two.undo(second)
    assert type(back[1]) is nn.Dropout
    assert back[1].after.weight.item() == 3.0
    assert torch.equal(one.undo(back)(x), model(x))


@pytest.mark.parametrize("change", [strip, replace])
def test_a_dropout_layer_put_after_another_is_changed_too(change):
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    first, one = insert(model, nn.Dropout(0.25), after="1")
    second, two = change(first)
    assert two.changed == ("1", "1.after")
    kind = nn.Identity if change is strip else Dropout
    assert type(second[1]) is kind
    assert type(second[1].after) is kind
    back = two.undo(second)
    assert [layer.p for layer in (back[1], back[1].after)] == [0.5, 0.25]
    assert len(back[1]._forward_hooks) == 1
    assert type(one.undo(back)[1]) is nn.Dropout


def test_what_was_put_after_a_change_acts_after_the_undo():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    second, two = strip(model)
    third, _ = insert(second, nn.Softplus(), after="1")
    x = torch.randn(3, 4)
    assert torch.equal(two.undo(third)(x), nn.functional.softplus(model(x)))


class Plus(nn.Module):
    def __init__(self, summand):
        super().__init__()
        self.summand = summand

    def forward(self, x):
        return x + self.summand


CALLS = []


def note(module, *rest):
    CALLS.append(len(rest))


def before(module, args, kwargs):
    CALLS.append("before")
    return (args[0] + 3,), kwargs


def doubled(module, args, output):
    CALLS.append("doubled")
    return 2 * output


def backward(module, *gradients):
    CALLS.append("backward")
    return (10 * gradients[0][0],)


def hooked():
    """A layer with every kind of hook, one before and one behind a layer put after it."""
    layer = nn.Dropout(0.0)
    layer.register_forward_pre_hook(before, with_kwargs=True)
    layer.register_forward_pre_hook(note)
    layer.register_forward_hook(doubled)
    model, _ = insert(nn.Sequential(layer, nn.ReLU()), Plus(1.0), after="0", copy=False)
    layer.register_forward_hook(note, with_kwargs=True)
    layer.register_forward_hook(doubled)
    layer.register_forward_hook(note, always_call=True)
    layer.register_full_backward_pre_hook(note)
    layer.register_full_backward_hook(backward)
    return model


def functions(hooks):
    """The functions of hooks, of which some are methods of what was copied."""
    return [getattr(hook, "__func__", hook) for hook in hooks.values()]


def called(model):
    CALLS.clear()
    x = torch.full((2,), 0.5, requires_grad=True)
    y = model(x)
    y.sum().backward()
    return y.tolist(), x.grad.tolist(), list(CALLS)


@pytest.mark.parametrize(
    "change", [replace, strip, lambda model, **o: replace(model, Plus(0), **o)]
)
@pytest.mark.parametrize("copy", [True, False])
def test_hooks_of_a_layer_go_on_to_its_successor(change, copy):
    model = hooked()
    old, expected = model[0], called(model)
    assert expected[:2] == ([16.0] * 2, [40.0] * 2)
    assert len(expected[2]) == 8
    new, report = change(model, which="0", copy=copy)
    assert type(new[0]) is not nn.Dropout
    assert called(new) == expected
    with pytest.raises(TypeError, match="unexpected"):  # a hook is called also then
        new[0](torch.ones(2), nothing=1)
    assert CALLS[-1] == 2
    back = report.undo(new, copy=copy)
    assert type(back[0]) is nn.Dropout
    assert called(back) == expected
    assert functions(back[0]._forward_hooks) == functions(old._forward_hooks)
    assert called(model) == expected or not copy


@pytest.mark.filterwarnings("ignore:Using a non-full backward hook")
def test_backward_hooks_of_the_old_kind_go_on_too():
    model = nn.Sequential(nn.Dropout(0.5))
    model[0].register_backward_hook(note)
    assert called(model)[2] == called(replace(model)[0])[2] == [2]


def test_classic_dropout_goes_with_its_weights():
    classic = to_classic(nn.Sequential(nn.Dropout(0.2), nn.Linear(4, 4)))
    reason = "0.inverted: the weights go with its rate; convert with from_classic first"
    for change in (strip, lambda model: replace(model, GaussianDropout(0.1))):
        with pytest.raises(ValueError, match=reason):
            change(classic)


def test_the_root_is_undone():
    new, report = replace(nn.Dropout(0.5).eval(), Dropout(0.2))
    back = report.undo(new)
    assert (type(back), back.p, back.training) == (nn.Dropout, 0.5, False)
    new, report = strip(Dropout(0.5))
    assert str(report.undo(new)) == "Dropout(p=0.5)"
    layer = nn.Linear(3, 2)
    new, report = insert(layer, Dropout(0.5), after=nn.Linear)
    assert str(report.undo(new)) == str(layer)


def test_undo_says_that_the_model_is_another():
    _, inserted = insert(net(), Dropout(0.5))
    _, replaced = replace(net(), Dropout(0.5))
    _, changed = set_rates(net(), 0.5)
    for report in (inserted, replaced, changed):
        with pytest.raises(ValueError, match=r"must be what the operation returned.*reverse order"):
            report.undo(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match="must be what the operation returned"):
        inserted.undo(net())

"""Nothing is called changed that does not act: modules that are never called are left."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit.noise import Dropout
from dropkit.surgery import Report, insert, replace, wrap

X = torch.randn(3, 4)


def scale(layer, x):
    """What a helper outside of the class calls."""
    return layer.gate(x)


class Block(nn.Module):
    """Holds modules that are used in every way, and in none."""

    def __init__(self):
        super().__init__()
        self.called, self.read = nn.Sigmoid(), nn.Linear(4, 4)
        self.unused, self.bypassed, self.asked = nn.ReLU(), nn.Tanh(), nn.ELU()
        self.in_method, self.by_text, self.gate = nn.GELU(), nn.SiLU(), nn.Softplus()
        self.numbered_0, self.several = nn.CELU(), nn.ModuleDict({"a": nn.Mish()})
        self.elsewhere = nn.ModuleList([nn.ReLU6()])

    def forward(self, x):
        if self.asked is not None and isinstance(self.unused, nn.Module):
            x = self.called(x) + F.linear(x, self.read.weight, self.read.bias)
        x = self.bypassed.forward(x) + self.helper(x)
        x = x + getattr(self, "by_text")(x)  # noqa: B009
        return scale(self, x) + self.several["a"](x)

    def helper(self, x):
        return self.in_method(x)

    def predict(self, x):
        return self.elsewhere[0](x)


class Numbered(nn.Module):
    def __init__(self):
        super().__init__()
        self.act_0, self.act_1, self.last = nn.ReLU(), nn.Tanh(), nn.Linear(4, 4)

    def forward(self, x):
        for i in range(2):
            x = getattr(self, f"act_{i}")(x)
        return self.last(x)


def test_modules_that_are_never_called_are_left():
    model = nn.Sequential(Block(), nn.Linear(4, 2))
    new, report = insert(model, nn.Dropout(0.5))
    calls = ("called", "in_method", "by_text", "gate", "several.a")
    never = "is not called in forward"
    # The block hands itself to a helper, which is looked into.
    assert report.changed == tuple(f"0.{name}" for name in calls)
    for name in calls:
        assert not torch.equal(new[0].get_submodule(name)(X), new[0].get_submodule(name)(X))

    class Strict(Block):
        def forward(self, x):
            return Block.helper(self, self.called(x)) + F.linear(x, self.read.weight)

    class Plain(Block):
        def forward(self, x):
            x = self.called(x) + F.linear(x, self.read.weight, self.read.bias)
            return self.bypassed.forward(x) + self.helper(x) + self.several["a"](x)

    new, report = insert(nn.Sequential(Plain(), nn.Linear(4, 2)), nn.Dropout(0.5))
    assert report.changed == ("0.called", "0.in_method", "0.several.a")
    assert report.left == (
        f"0.unused: {never}",
        "0.bypassed: is not called: Plain calls its forward directly, which skips hooks",
        f"0.asked: {never}",
        f"0.by_text: {never}",
        f"0.gate: {never}",
        f"0.numbered_0: {never}",
        "0.elsewhere.0: is in 0.elsewhere, which is not called",
    )
    with pytest.raises(ValueError, match=r"0\.read: is not called: Plain reads its bias"):
        insert(nn.Sequential(Plain()), nn.Dropout(0.5), after="0.read")
    # By name, also what other methods than forward call.
    _, report = insert(nn.Sequential(Plain()), nn.Dropout(0.5), after="*.elsewhere.0")
    assert report.changed == ("0.elsewhere.0",)


HELPERS = {"double": lambda layer, x: x, "gate": scale}


class Handing(nn.Module):
    """Hands itself to a function of a table, or to one that cannot be told."""

    def __init__(self, table):
        super().__init__()
        self.table, self.gate, self.idle = table, nn.Sigmoid(), nn.Tanh()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        if self.table:
            chosen = HELPERS["gate"]
            return self.last(chosen(self, x))
        return self.last(x)


class HandingAway(Handing):
    def forward(self, x):
        chosen = self.table.get("gate")
        return self.last(chosen(self, x))


def test_a_module_that_hands_itself_to_functions():
    _, report = insert(Handing(True), Dropout(0.5))
    assert report == Report(("gate",), ("idle: is not called in forward",))
    _, report = insert(HandingAway(HELPERS), Dropout(0.5))
    assert report == Report(("gate", "idle"))


def test_names_made_at_run_time_count_as_called():
    assert insert(Numbered(), Dropout(0.5))[1] == Report(("act_0", "act_1"))


def test_wrap_leaves_what_is_never_called():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return F.linear(self.a(x), self.b.weight)

    from dropkit.noise import DropConnect

    new, report = wrap(Reading(), DropConnect, nn.Linear)
    assert report == Report(("a",), ("b: is not called: Reading reads its weight",))
    assert not torch.equal(new(X), new(X))


def test_replace_leaves_what_no_code_calls():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x):
            return self.used(x)

    assert replace(Idle())[1] == Report(("used",), ("idle: is not called in forward",))


def test_a_function_of_the_same_name_is_no_call():
    class Forgetful(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout, self.keep = nn.Dropout(0.5), nn.Dropout(0.5)

        def forward(self, x):
            return self.keep(nn.functional.dropout(x, 0.1, self.training))

    _, report = replace(Forgetful())
    assert report.changed == ("keep",)
    assert report.left[0] == "dropout: is not called in forward"


class Stepping(nn.Module):
    """As a module of Lightning's: what is trained is called by a step, not by forward."""

    def __init__(self):
        super().__init__()
        self.shown, self.trained, self.idle = nn.ReLU(), nn.Tanh(), nn.ELU()
        self.last = nn.Linear(4, 4)

    def forward(self, x):
        return self.last(self.shown(x))

    def training_step(self, batch):
        return self.last(self.trained(batch)).sum()


class Without(nn.Module):
    """Has no forward pass; code outside calls its parts."""

    def __init__(self):
        super().__init__()
        self.act, self.last = nn.ReLU(), nn.Linear(4, 4)


def test_steps_and_models_without_a_forward_pass():
    _, report = insert(Stepping(), Dropout(0.5))
    assert report == Report(("shown", "trained"), ("idle: is not called in forward",))
    assert insert(Without(), Dropout(0.5))[1].changed == ("act",)
    assert insert(nn.ModuleList([nn.ReLU(), nn.Linear(2, 2)]), Dropout(0.5))[1].changed == ("0",)


def test_code_without_source_counts_as_calling():
    scope = {"nn": nn}
    exec(
        "class Unseen(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.act = nn.ReLU(); self.last = nn.Linear(4, 4)\n"
        "    def forward(self, x):\n"
        "        return self.last(self.act(x))\n",
        scope,
    )
    assert insert(scope["Unseen"](), Dropout(0.5))[1].changed == ("act",)


def net():
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))


@pytest.mark.parametrize("how", ["compiled", "copy", "in place", "by method"])
def test_a_layer_acts_in_a_model_that_was_compiled_before(how):
    model = net()
    if how == "by method":
        model.compile(backend="eager")
        compiled = model
    else:
        compiled = torch.compile(model, backend="eager")
    plain = compiled(X)
    if how == "compiled":
        new, report = insert(compiled, Dropout(0.5))
    elif how == "copy":
        new, report = insert(model, Dropout(0.5))
        new = torch.compile(new, backend="eager")
    else:
        new, report = insert(model, Dropout(0.5), copy=False)
        new = compiled
    assert not torch.equal(new(X), new(X))
    if how == "compiled":
        assert torch.equal(report.undo(new)(X), plain)


class Switching(nn.Module):
    """Takes one of two branches by a setting, as an adapter that may be off."""

    def __init__(self):
        super().__init__()
        self.is_on, self.original, self.adapted = True, nn.ReLU(), nn.Tanh()
        self.norm, self.last = nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, x, *, scale=1.0):
        x = self.norm(x)
        return self.last(scale * (self.adapted(x) if self.is_on else self.original(x)))


def test_an_example_tells_which_branch_is_taken():
    model = Switching()
    assert insert(model, Dropout(0.5))[1].changed == ("original", "adapted")
    state = torch.get_rng_state()
    for example in (X, (X,), {"x": X, "scale": 2.0}):
        new, report = insert(model, Dropout(0.5), example=example)
        assert report == Report(("adapted",), ("original: is not called on the example",))
    assert torch.equal(state, torch.get_rng_state())
    assert not model.norm.running_mean.any()
    assert not new.norm.running_mean.any()
    assert not new.last._forward_hooks
    with pytest.raises(ValueError, match="must run on the example, but it fails"):
        insert(model, Dropout(0.5), example=torch.ones(3, 7))


class Body(nn.Module):
    """Reaches the modules of ``body`` without naming or calling them."""

    def __init__(self, kind):
        super().__init__()
        layers = {"a": nn.Linear(4, 4), "b": nn.Tanh(), "c": nn.Dropout(0.5)}
        self.body = kind(layers) if kind is nn.ModuleDict else kind(*layers.values())
        self.head = nn.Linear(4, 4)


class Values(Body):
    def forward(self, x):
        return self.head(sum(layer(x) for layer in self.body.values()))


class Items(Body):
    def forward(self, x):
        return self.head(sum(layer(x) for _, layer in self.body.items()))


class Children(Body):
    def forward(self, x):
        return self.head(sum(layer(x) for layer in self.body.children()))


class NamedChildren(Body):
    def forward(self, x):
        return self.head(sum(layer(x) for _, layer in self.body.named_children()))


class Table(Body):
    def forward(self, x):
        return self.head(sum(layer(x) for layer in self.body._modules.values()))


class Distant(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.inner = Body(kind)

    def forward(self, x):
        return self.inner.head(sum(layer(x) for layer in self.inner.body.children()))


@pytest.mark.parametrize("kind", [nn.ModuleDict, nn.Sequential])
@pytest.mark.parametrize("model", [Values, Items, Children, NamedChildren, Table, Distant])
def test_children_of_a_child_that_are_iterated_over_are_called(model, kind):
    if model in (Values, Items) and kind is nn.Sequential:
        return
    (inserted,) = insert(model(kind), Dropout(0.5))[1].changed
    (replaced,) = replace(model(kind))[1].changed
    assert inserted.endswith(("body.b", "body.1"))
    assert replaced.endswith(("body.c", "body.2"))


@pytest.mark.parametrize("steps", ["children", "_modules"])
def test_a_module_that_iterates_over_its_children_is_not_followed(steps):
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.act = nn.Linear(4, 4), nn.Sigmoid()

        def forward(self, x):
            for layer in self.children() if steps == "children" else self._modules.values():
                x = layer(x)
            return x

    with pytest.raises(ValueError, match="0: may also call the new layer as a child"):
        insert(nn.Sequential(Chain(), nn.Linear(4, 4)), Dropout(0.5), after=Chain)
    new, report = insert(nn.Sequential(Chain(), nn.Linear(4, 4)), Dropout(0.5))
    assert report == Report(("0.act",))
    assert (new[0](torch.ones(500, 4)) == 0).float().mean() == pytest.approx(0.5, abs=0.1)

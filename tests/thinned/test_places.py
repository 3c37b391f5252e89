"""Places that look safe and are not, and those that do not look so and are."""

from collections import deque
from functools import partial
from types import MethodType, SimpleNamespace

import pytest
import torch
from torch import nn

from dropkit import surgery
from dropkit.noise import Dropout
from dropkit.thinned import thin
from helpers.masked_net import assert_same_step, double, masked


def encoder_layer(**options):
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True, **options)


class Net(nn.Module):
    """Two linear layers with dropout between, and a forward pass for each test."""

    def __init__(self, forward=None, **modules):
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(8, 16), nn.Dropout(), nn.Linear(16, 2)
        self.run = forward
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def reasons(net):
    """Why nothing is thinned."""
    with pytest.raises(ValueError, match="there is none that can be thinned") as error:
        thin(net)
    return str(error.value)


class TestTransformerLayers:
    def test_dropout_that_is_used_elsewhere_too(self):
        layer = encoder_layer()
        net = nn.Sequential(layer, layer.dropout, nn.Linear(8, 1))
        assert "its Dropout is shared by the model and 0" in reasons(net)

    @pytest.mark.parametrize("part", ["linear1", "dropout", "linear2"])
    def test_parts_that_two_layers_share(self, part):
        net = nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False)
        setattr(net.layers[1], part, getattr(net.layers[0], part))
        kind = type(getattr(net.layers[0], part)).__name__
        assert f"its {kind} is shared by layers.0 and layers.1" in reasons(net)

    def test_parts_that_are_called_from_outside(self):
        def forward(net, x):
            return net.block.dropout(net.block(x))

        net = Net(forward, block=encoder_layer())
        assert "block.dropout is called outside of its layer too" in reasons(net)

    def test_parts_that_are_a_layer_elsewhere(self):
        layer = encoder_layer()
        net = nn.Sequential(
            *(layer, nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), layer.linear2, nn.Linear(8, 16)),
            *(nn.ReLU(), nn.Dropout(), nn.Linear(16, 2)),
        )
        _, plan = thin(net)
        assert [line.split(":")[0] for line in plan.thinned] == ["3", "7"]
        assert "reads" not in plan.thinned[0]
        assert "3: 0.linear2 may be called by 0 too" in plan.left

    def test_a_layer_may_be_called_twice(self):
        layer = encoder_layer()
        _, plan = thin(nn.Sequential(layer, layer))
        assert plan.thinned[0].startswith("0.dropout: 0.linear1 computes and 0.linear2 reads")

    def test_an_activation_with_hooks(self):
        layer = encoder_layer(activation=nn.ReLU())
        layer.activation.register_forward_hook(lambda *_: None)
        assert "has hooks, which would only see the kept units" in reasons(layer)

    def test_a_layer_after_the_activation(self):
        net, _ = surgery.insert(
            encoder_layer(activation=nn.ReLU()), nn.LayerNorm(16), after=nn.ReLU
        )
        assert "a layer was put after one of its parts" in reasons(net)

    @pytest.mark.parametrize("method", ["forward", "_ff_block"])
    def test_methods_of_its_own(self, method):
        layer = encoder_layer()
        setattr(layer, method, MethodType(lambda layer, x: x, layer))
        assert "the TransformerEncoderLayer has its own forward pass" in reasons(layer)


class TestWhatIsNotSeen:
    def test_a_forward_pass_of_the_model_itself(self):
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2))
        net.forward = MethodType(lambda net, x: net[3](net[2](net[0](x).softmax(1))), net)
        assert "must have the forward pass of its class to be traced" in reasons(net)

    @pytest.mark.parametrize(
        "keep", [partial(setattr, SimpleNamespace(), "h"), deque().append, {}.setdefault]
    )
    def test_values_in_any_object(self, keep):
        def forward(net, x):
            h = net.a(x).relu()
            keep(h)
            return net.b(net.drop(h))

        _, plan = thin(Net(forward), copy=False)
        assert plan.left == ("drop: its input, relu, is also used elsewhere",)

    def test_values_that_are_let_go(self):
        def forward(net, x):
            cycle = [net.a(x).relu()]
            cycle.append(cycle)
            return net.b(net.drop(cycle[0]))

        _, plan = thin(Net(forward))
        assert plan.left == ()

    def test_layers_held_in_a_list(self):
        class Holder(nn.Module):
            def __init__(self, layer):
                super().__init__()
                self.held = [{"layer": layer}]

            def forward(self, x):
                return self.held[0]["layer"](x)

        def forward(net, x):
            return net.b(net.drop(net.a(x).relu())) + net.holder(x).mean()

        net = Net(forward)
        net.holder = Holder(net.a)
        _, plan = thin(net)
        assert plan.left == ("drop: a may be called by holder too",)

    def test_options_given_in_part(self):
        class Optional(Net):
            def forward(self, x, gate=None, shift=None):
                h = self.a(x)
                h = h.softmax(-1) if gate is not None and shift is None else h.relu()
                return self.b(self.drop(h))

        assert "depend on an optional argument" in reasons(Optional())

    def test_too_many_options(self):
        class Optional(Net):
            def forward(self, x, p=1, q=2, r=3, s=4, t=5):
                return self.b(self.drop(self.a(x)))

        assert "must have at most 4 optional arguments" in reasons(Optional())

    def test_dropout_in_place_of_what_is_used_elsewhere(self):
        def forward(net, x):
            h = net.a(x).tanh() * 1.0
            y = net.b(net.drop(h))
            return y + net.c(h)

        net = Net(forward, c=nn.Linear(16, 2), drop=nn.Dropout(inplace=True))
        said = reasons(net)
        assert "it drops in place, and its input, mul, is also used elsewhere" in said
        net.drop.inplace = False
        assert thin(net)[1].thinned
        alone = nn.Sequential(nn.Linear(8, 16), nn.Dropout(inplace=True), nn.Linear(16, 2))
        assert thin(alone)[1].left == ()


class Images(nn.Module):
    def __init__(self, flatten, drop):
        super().__init__()
        self.channels = isinstance(drop, nn.Dropout2d)
        self.conv, self.drop = nn.Conv2d(3, 8, 3), drop
        self.fc = nn.Linear(8 * 9 if self.channels else 8, 2)
        self.flatten = flatten

    def forward(self, x):
        x = self.conv(x).relu()
        if self.channels:
            return self.fc(self.flatten(self.drop(x)))
        return self.fc(self.drop(self.flatten(nn.functional.adaptive_avg_pool2d(x, 1))))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("drop", [nn.Dropout2d, nn.Dropout])
@pytest.mark.parametrize(
    "flatten",
    [
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.view(x.size()[0], -1),
    ],
)
def test_rows_may_be_counted(flatten, drop):
    net, plan = thin(double(Images(flatten, drop(0.5))), groups=2)
    assert plan.left == ()
    x = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_same_step(net, masked(net, plan), x)


@pytest.mark.parametrize(
    "flatten",
    [
        lambda x: x.view(-1, 72),
        lambda x: x.view(x.size(1), -1),
        lambda x: x.reshape(x.shape[0] * 8, -1),
        lambda x: x.view(x.size(0), -1, 9),
    ],
)
def test_other_shapes_are_refused(flatten):
    _, plan = thin(Images(flatten, nn.Dropout2d()))
    assert plan.left[0].endswith("must see the dropped units too; use flatten(1)")


class MyDropout(nn.Dropout):
    pass


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((nn.Conv1d(3, 8, 3), nn.Dropout2d()), "units of 0 (Conv1d); use Dropout1d"),
        (
            (nn.Linear(8, 8), MyDropout()),
            "MyDropout is a subclass of Dropout, and may compute something else",
        ),
        ((nn.Linear(8, 8), nn.AlphaDropout()), "AlphaDropout is not known to zero whole units"),
        ((nn.Linear(8, 8), Dropout(shared_dims=(1,))), "Dropout does not drop whole units"),
        ((nn.LazyLinear(8), nn.Dropout()), "0 (LazyLinear; run one batch first)"),
    ],
)
def test_reasons_that_help(layers, reason):
    assert reason in reasons(nn.Sequential(*layers))


def test_thinning_twice_names_undo():
    net, _ = thin(nn.Sequential(nn.Linear(8, 16), nn.Dropout(), nn.Linear(16, 2)))
    assert "is thinned already: call plan.undo first" in reasons(net)

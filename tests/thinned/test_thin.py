"""What is thinned and what is not."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel

from dropkit.noise import Dropout, GaussianDropout
from dropkit.thinned import thin
from helpers.masked_net import mlp


def hooked(layer):
    layer.register_forward_hook(lambda *_: None)
    return layer


class Branching(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x) if x.sum() > 0 else x


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer, self.drop = nn.Linear(4, 8), nn.Linear(8, 2), nn.Dropout(0.5)

    def forward(self, x):
        return F.dropout(self.outer(self.drop(self.inner(x)).relu()), 0.5, self.training)


class Twice(nn.Module):
    """The values before dropout are used again."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer, self.drop = nn.Linear(4, 8), nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x):
        hidden = self.inner(x)
        return hidden + self.outer(self.drop(hidden))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.c(self.drop(self.b(self.drop(self.a(x)))))


class Grouped(nn.Conv2d):
    pass


LEFT = [
    ((nn.Linear(4, 4), nn.Dropout(0.5)), "the output must see the dropped units too", True),
    ((nn.Dropout(0.5), nn.Linear(4, 4)), "its units come from the input", True),
    ((nn.Linear(4, 4), nn.LayerNorm(4), nn.Dropout(0.5), nn.Linear(4, 4)), "LayerNorm", True),
    ((nn.Linear(4, 4), nn.Dropout(0.5), nn.Sigmoid(), nn.Linear(4, 4)), "2 (Sigmoid)", True),
    ((nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 4)), "2 (Tanh)", True),
    ((nn.Linear(4, 4), nn.Softmax(-1), nn.Dropout(0.5), nn.Linear(4, 4)), "Softmax", True),
    ((nn.Linear(4, 4), nn.PReLU(4), nn.Dropout(0.5), nn.Linear(4, 4)), "PReLU", True),
    ((hooked(nn.Linear(4, 4)), nn.Dropout(0.5), nn.Linear(4, 4)), "has hooks", True),
    ((nn.Linear(4, 4), hooked(nn.ReLU()), nn.Dropout(0.5), nn.Linear(4, 4)), "ReLU", True),
    ((nn.Linear(4, 4), hooked(nn.Dropout(0.5)), nn.Linear(4, 4)), "has hooks", False),
    ((nn.Linear(4, 4), nn.ReLU(), GaussianDropout(0.5), nn.Linear(4, 4)), "not known to", False),
    ((nn.Linear(4, 4), nn.AlphaDropout(0.5), nn.Linear(4, 4)), "not known to", False),
    ((nn.Linear(4, 4), nn.Dropout1d(0.5), nn.Linear(4, 4)), "whole units", False),
    ((nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Conv2d(4, 1, 3)), "whole units", False),
    ((nn.Conv2d(1, 4, 3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 4)), "whole units", False),
    ((Grouped(1, 4, 3), nn.Dropout2d(0.5), Grouped(4, 1, 3)), "Grouped", False),
    ((nn.Conv2d(4, 4, 3, groups=4), nn.Dropout2d(0.5), nn.ReLU()), "Conv2d", False),
    ((nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(4, 4)), "not known", False),
    ((Shared(),), "0.drop is called 2 times in a pass", False),
    ((Twice(),), "0.inner (Linear), is also used elsewhere", True),
]


@pytest.mark.parametrize(("layers", "reason", "one_side"), LEFT)
def test_what_cannot_be_thinned_is_listed(layers, reason, one_side):
    net = nn.Sequential(*layers)
    if one_side:
        _, plan = thin(net)
        assert len(plan.thinned) == 1
        assert (" and " in plan.thinned[0]) is False
        (line,) = plan.left
        assert reason in line
    else:
        with pytest.raises(ValueError, match="there is none that can be thinned") as error:
            thin(net)
        assert reason in str(error.value)


def test_a_flattened_map_is_no_row_of_units():
    conv = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 4))
    _, plan = thin(nn.Sequential(*conv))
    assert plan.thinned == ("3: layer 4 reads 8 of 16 units, for batches of 256 rows or more",)
    assert plan.left == ("3: it drops single values of feature maps",)


def test_batch_normalization_that_cannot_be_thinned():
    def net(**options):
        return nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8, **options), nn.Dropout(0.5), nn.Linear(8, 2)
        )

    assert "normalizes over the groups" in thin(net(), groups=2)[1].left[0]
    assert "averages over all batches" in thin(net(momentum=None))[1].left[0]
    assert thin(net())[1].left == ()


def test_functions_and_branches():
    _, plan = thin(Functional())
    assert plan.thinned[0].startswith("drop: inner computes and outer reads 4 of 8 units")
    assert plan.left == ("dropout: dropout is called as a function; use a layer",)
    with pytest.raises(ValueError, match="must not branch on values"):
        thin(Branching(mlp()))
    with pytest.raises(ValueError, match="there is none that can be thinned"):
        thin(nn.Linear(2, 2))


def test_transformer_layers_are_known_within_what_cannot_be_followed():
    layer = nn.TransformerDecoderLayer(8, 2, 16, activation="gelu")
    _, plan = thin(Branching(layer))
    assert plan.thinned == ("inner.dropout: inner.linear1 computes and inner.linear2 reads "
                            "14 of 16 units, for batches of 480 rows or more",)  # fmt: skip
    assert len(plan.left) == 5
    for name in ("self_attn", "multihead_attn"):
        assert f"inner.{name}: drops single attention weights, no whole heads" in plan.left
    odd = nn.TransformerEncoderLayer(8, 2, 16, activation=lambda x: x.softmax(-1))
    with pytest.raises(ValueError, match="is not known to act on single units"):
        thin(odd)


@pytest.mark.parametrize("groups", [0, -1, 1.5, True, "2"])
def test_groups_out_of_range(groups):
    with pytest.raises(ValueError, match="groups must be an integer of at least 1"):
        thin(mlp(), groups=groups)


def test_the_share_saved():
    _, plan = thin(nn.Sequential(nn.Dropout(0.2), *mlp()))
    assert plan.saved == {"1": pytest.approx(1 - 5 / 6 * 0.5), "4": 0.5}


@pytest.mark.parametrize("p", [0.0, 0.99, 1.0])
def test_nothing_is_saved_where_all_or_none_are_dropped(p):
    _, plan = thin(nn.Sequential(nn.Dropout(0.2), *mlp(p)))
    assert plan.saved == {"1": pytest.approx(1 / 6), "4": 0.0}
    assert plan.thinned[1] == "3: layer 1 computes and layer 4 reads all 20 units at this rate"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_plan(again):
    net, plan = thin(mlp())
    other = again(plan)
    assert other == plan
    assert hash(other) == hash(plan)
    assert "forward" not in other.undo(net)[0].__dict__


def test_what_a_thinned_net_is_a_part_of_is_undone():
    net, plan = thin(mlp())
    whole = nn.ModuleDict({"mean": AveragedModel(net), "other": hooked(nn.ReLU())})
    whole["other"].forward = torch.relu
    back = plan.undo(whole)
    assert [name for name, m in back.named_modules() if "forward" in m.__dict__] == ["other"]


def test_types_parameters_and_names_stay():
    dense = mlp()
    net, _ = thin(dense)
    assert net.state_dict().keys() == dense.state_dict().keys()
    assert [type(m) for m in net.modules()] == [type(m) for m in dense.modules()]
    assert "forward" not in dense[0].__dict__
    assert net[0].weight is not dense[0].weight
    same, _ = thin(dense, copy=False)
    assert same is dense
    dense.load_state_dict(net.state_dict())


def test_parameters_stay_those_of_the_optimizer():
    net = mlp()
    before = dict(net.named_parameters())
    thin(net, copy=False)
    assert all(p is before[name] for name, p in net.named_parameters())


def test_dropout_of_ours_within_a_sequence_of_shared_positions():
    net = nn.Sequential(nn.Linear(4, 4), Dropout(0.5, shared_dims=(1,)), nn.Linear(4, 4))
    with pytest.raises(ValueError, match="does not drop whole units"):
        thin(net)


class Stored(nn.Module):
    """A hidden value is left where a penalty on it may look for it."""

    def __init__(self, where):
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(8, 400), nn.Dropout(0.5), nn.Linear(400, 1)
        self.where, self.hidden, self.all = where, None, []

    def forward(self, x):
        made = self.a(x).relu()
        dropped = self.drop(made)
        rest = dropped.relu()
        value = {"made": made, "dropped": dropped, "rest": rest}[self.where]
        self.hidden = value
        self.all.append((value, 1))
        return self.b(rest)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("made", "drop: its input, relu, is also used elsewhere"),
        ("dropped", "drop: its output is also used elsewhere"),
        ("rest", "drop: relu must see the dropped units too"),
    ],
)
def test_what_a_module_keeps_is_whole(where, reason):
    net, plan = thin(Stored(where))
    assert plan.left == (reason,)
    assert net.hidden is None
    assert net.all == []
    net(torch.randn(300, 8))
    assert net.hidden.shape == net.all[0][0].shape == (300, 400)


@pytest.mark.parametrize("hook", ["forward", "forward_pre", "full_backward"])
def test_hooks_of_what_is_looked_into_see_whole_values(hook):
    seen = []
    block = nn.Sequential(nn.ReLU(), nn.Identity())
    getattr(block, f"register_{hook}_hook")(lambda module, *values: seen.append(values[0]))
    _, plan = thin(nn.Sequential(nn.Linear(8, 400), block, nn.Dropout(), nn.Linear(400, 1)))
    assert "is also used elsewhere" in plan.left[0]


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Linear(16, 64), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(), nn.Linear(64, 3)),
        (nn.Linear(10, 64), nn.MaxPool1d(3, 1, 1), nn.Flatten(), nn.Dropout(), nn.Linear(64, 3)),
    ],
)
def test_what_acts_on_another_dimension_than_that_of_the_units(layers):
    _, plan = thin(nn.Sequential(*layers))
    assert "acts on another dimension" in plan.left[0]


def test_batch_normalization_of_positions_of_which_there_are_as_many_as_units():
    layers = nn.Linear(8, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 2)
    net, _ = thin(nn.Sequential(*layers))
    net(torch.randn(300, 40, 8))
    assert net[3].forward.units.making() is None
    net(torch.randn(300, 8))
    assert net[3].forward.units.making() is not None


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.drop, self.b = nn.Linear(8, 400), nn.Dropout(), nn.Linear(400, 1)

    def forward(self, x, gate=None):
        h = self.a(x)
        h = F.normalize(h) if gate is None else h.relu()
        return self.b(self.drop(h))


def test_both_branches_of_an_optional_argument_count():
    with pytest.raises(ValueError, match="depend on an optional argument"):
        thin(Gated())


def test_layers_may_be_called_by_keyword():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.norm = nn.Linear(8, 400), nn.BatchNorm1d(400)
            self.drop, self.b = nn.Dropout(), nn.Linear(400, 1)

        def forward(self, x):
            return self.b(input=self.drop(input=self.norm(input=self.a(input=x))))

    net, plan = thin(Named())
    assert plan.left == ()
    assert net(torch.randn(200, 8)).shape == net.eval()(torch.randn(200, 8)).shape

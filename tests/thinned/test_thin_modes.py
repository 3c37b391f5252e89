"""Modes, copies, transforms, randomness, and the rows that thinning needs."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch import nn

from dropkit import doctor, predict, rates, sampling, set_rates
from dropkit.noise import Dropout2d
from dropkit.random import seed as seeds
from dropkit.thinned import _choice, _units, thin
from helpers.masked_net import assert_close, assert_same_step, double, masked, mlp


def kept(net, name="2"):
    return net.get_submodule(name).forward.units.making()


class DropsInTraining(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer, self.drop = nn.Linear(4, 8), nn.Linear(8, 8), nn.Dropout(0.5)

    def forward(self, x):
        hidden = self.inner(x).tanh()
        return self.outer(self.drop(hidden) if self.training else hidden)


@pytest.mark.usefixtures("always")
class TestModes:
    def test_evaluation_is_that_of_the_dense_net(self):
        dense = mlp().eval()
        net, _ = thin(dense)
        x = torch.randn(5, 6)
        assert torch.equal(net(x), dense(x))
        net.train()(x)
        assert kept(net) is not None
        assert torch.equal(net.eval()(x), dense(x))

    def test_modes_are_those_of_before(self):
        dense = mlp().eval()
        dense[0].train()
        net, _ = thin(dense)
        assert [m.training for m in net.modules()] == [False, True, False, False, False]

    @pytest.mark.parametrize("index", [0, 2])
    def test_with_either_off_nothing_is_thinned(self, index):
        torch.manual_seed(0)
        net, _ = thin(mlp())
        net[index].eval()
        y = net(torch.ones(50, 6))
        assert kept(net) is None
        assert torch.allclose(y, y[:1]) is (index == 2)  # no mask, or one for each row

    def test_samples_have_masks_of_their_own(self):
        torch.manual_seed(0)
        net, _ = thin(mlp())
        x = torch.ones(50, 6)
        with torch.no_grad(), sampling(net.eval()):
            assert len(net(x).unique(dim=0)) > 25
        assert predict(net, x[:2], samples=20).variance.min() > 0

    @pytest.mark.parametrize("p", [0.0, 0.01, 1.0])
    def test_all_or_none_is_ordinary_dropout(self, p):
        net, plan = thin(mlp(p))
        dense = plan.undo(net)
        x = torch.randn(5, 6)
        torch.manual_seed(0)
        y = net(x)
        torch.manual_seed(0)
        assert torch.equal(dense(x), y)
        assert y.isfinite().all()
        y.sum().backward()

    def test_the_calls_of_training_count(self):
        net, plan = thin(DropsInTraining().eval())
        assert plan.thinned[0].startswith("drop: inner computes and outer reads")
        assert_same_step(net.double().train(), masked(net, plan), torch.randn(5, 4).double())

    def test_rates_can_change(self):
        net, plan = thin(mlp())
        net[2].p = 0.9
        net(torch.randn(5, 6))
        assert len(kept(net)[0]) == 2
        assert rates(net) == {"2": 0.9}
        net, _ = set_rates(net, 0.25)
        assert_same_step(net.double(), masked(net, plan), torch.randn(5, 6).double())
        assert len(kept(net)[0]) == 15

    def test_more_groups_than_rows(self):
        net, _ = thin(mlp(), groups=8)
        assert len(net(torch.randn(3, 6))) == len(kept(net)) == 3
        assert len(net(torch.randn(0, 6))) == 0

    def test_groups_differ(self):
        torch.manual_seed(0)
        net, _ = thin(mlp(), groups=3)
        groups = net(torch.ones(8, 6)).tensor_split(3)
        assert [torch.allclose(rows, rows[:1]) for rows in groups] == [True] * 3
        for one, other in itertools.combinations(groups, 2):
            assert not torch.allclose(one[0], other[0])

    def test_parts_and_later_changes_are_refused(self):
        net, _ = thin(mlp())
        net[2] = nn.Dropout(0.5)
        with pytest.raises(RuntimeError, match="the units of 2 must pass its dropout layer"):
            net(torch.randn(5, 6))

    def test_twice(self):
        net, _ = thin(mlp())
        with pytest.raises(ValueError, match="is thinned already"):
            thin(net)

    def test_undo(self):
        net, plan = thin(mlp())
        back = plan.undo(net)
        assert not any("forward" in m.__dict__ for m in back.modules())
        assert "forward" in net[0].__dict__
        assert plan.undo(net, copy=False) is net
        assert "forward" not in net[0].__dict__
        thin(net)

    @pytest.mark.parametrize(
        "again",
        [
            copy.deepcopy,
            lambda net: pickle.loads(pickle.dumps(net)),
            lambda net: torch.load(saved(net), weights_only=False),
        ],
    )
    def test_copies_are_thinned_by_themselves(self, again):
        net, _ = thin(mlp())
        other = again(net)
        x = torch.randn(5, 6)
        torch.manual_seed(0)
        y = net(x)
        before = kept(net)
        torch.manual_seed(0)
        assert torch.equal(other(x), y)
        torch.manual_seed(1)
        other(x).sum().backward()
        assert net[0].weight.grad is None
        assert kept(net) is before
        assert other[0].forward.module is other[0]

    def test_autocast(self):
        net, plan = thin(mlp())
        x = torch.randn(5, 6)
        with torch.autocast("cpu", torch.bfloat16):
            y = net(x)
            expected = masked(net, plan)(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y, expected, rtol=0.02, atol=0.02)
        y.sum().backward()
        assert net[0].weight.grad.dtype == torch.float32

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision(self, dtype):
        net, plan = thin(mlp().to(dtype))
        x = torch.randn(5, 6, dtype=dtype)
        y = net(x)
        y.sum().backward()
        torch.testing.assert_close(y, masked(net, plan)(x), rtol=0.02, atol=0.02)

    def test_frozen_parameters(self):
        torch.manual_seed(0)
        net, plan = thin(double(nn.Linear(6, 20), nn.Dropout(0.5), nn.Linear(20, 3)))
        net[0].requires_grad_(False)
        x = torch.randn(5, 6, dtype=torch.float64)
        net(x).sum().backward()
        dense = masked(net, plan)
        dense.zero_grad()
        dense(x).sum().backward()
        assert net[0].weight.grad is None
        assert_close(net[2].weight.grad, dense[2].weight.grad)

    def test_function_transforms(self):
        net, _ = thin(double(nn.Linear(6, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 3)))
        x = torch.randn(5, 6, dtype=torch.float64)
        parameters = dict(net.named_parameters())

        def loss(parameters):
            return torch.func.functional_call(net, parameters, (x,)).square().sum()

        torch.manual_seed(0)
        grads = torch.func.grad(loss)(parameters)
        torch.manual_seed(0)
        net(x).square().sum().backward()
        for name, p in net.named_parameters():
            assert_close(grads[name], p.grad)

    def test_compiled(self):
        layers = nn.Linear(6, 12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, 3)  # cut on both sides
        net, _ = thin(nn.Sequential(nn.Dropout(0.3), *layers))
        twin = copy.deepcopy(net)
        compiled = torch.compile(twin, backend="eager", fullgraph=True)
        x = torch.randn(5, 6)
        for run in (net, compiled):
            torch.manual_seed(0)
            run(x).square().sum().backward()
        for p, q in zip(net.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)

    def test_other_tools_see_ordinary_layers(self):
        net, _ = thin(mlp())
        assert rates(net) == {"2": 0.5}
        assert str(doctor(net)) == str(doctor(mlp()))


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return file


@pytest.mark.usefixtures("always")
class TestDraws:
    def test_the_mean_is_that_without_dropout(self):
        torch.manual_seed(0)
        net, _ = thin(double(nn.Linear(2, 7), nn.ReLU(), nn.Dropout(0.3), nn.Linear(7, 1)), 100)
        x = torch.ones(100, 2, dtype=torch.float64)
        samples = torch.cat([net(x) for _ in range(40)]).detach()
        z = (samples.mean() - net.eval()(x)[0]) / (samples.std() / len(samples) ** 0.5)
        assert abs(z) < 4

    def test_a_seed_gives_the_same_masks_again(self):
        net, _ = thin(mlp())
        masks = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            net(torch.ones(5, 6))
            masks.append(kept(net)[0])
        assert torch.equal(masks[0], masks[1])
        assert not torch.equal(masks[0], masks[2])

    def test_one_draw_for_a_place(self):
        net, _ = thin(mlp(), groups=3)
        torch.manual_seed(0)
        net(torch.ones(5, 6))
        after = torch.get_rng_state()
        torch.manual_seed(0)
        seeds.draw(torch.device("cpu"), None)
        assert torch.equal(torch.get_rng_state(), after)

    def test_replicas_draw_different_masks(self, monkeypatch):
        net, _ = thin(mlp())
        masks = []
        for rank in (0, 1):
            monkeypatch.setattr(_choice, "data_rank", lambda rank=rank: rank)
            torch.manual_seed(0)
            net(torch.ones(5, 6))
            masks.append(kept(net)[0])
        assert not torch.equal(*masks)


class TestRows:
    def test_few_rows_are_dropped_as_ever(self):
        net, plan = thin(mlp())
        assert plan.thinned == (
            "2: layer 0 computes and layer 3 reads 10 of 20 units, for batches of 96 rows or more",
        )
        net(torch.ones(95, 6))
        assert kept(net) is None
        net(torch.ones(96, 6))
        assert kept(net) is not None
        net(torch.ones(8, 12, 6))
        assert kept(net) is not None

    def test_rows_of_each_group_count(self):
        net, _ = thin(mlp(), groups=2)
        net(torch.ones(191, 6))
        assert kept(net) is None
        net(torch.ones(192, 6))
        assert len(kept(net)) == 2

    def test_positions_count(self):
        layers = (nn.Conv2d(1, 4, 3, padding=1), Dropout2d(0.5), nn.Conv2d(4, 1, 3))
        net, _ = thin(nn.Sequential(*layers))
        net(torch.ones(1, 1, 9, 9))
        assert kept(net, "1") is None
        net(torch.ones(1, 1, 10, 10))
        assert kept(net, "1") is not None

    def test_the_bounds_are_those_measured(self):
        assert (_units._WORTH_SHARED, _units._WORTH_ALONE) == (48, 128)


@pytest.mark.parametrize("spatial", [0, 1])
def test_samples_of_a_vmap_share_what_is_kept(spatial):
    torch.manual_seed(0)
    layers = [
        (nn.Linear(6, 40), nn.ReLU(), nn.Dropout(), nn.Linear(40, 3)),
        (nn.Conv1d(6, 40, 1), nn.ReLU(), nn.Dropout1d(), nn.Conv1d(40, 3, 1)),
    ][spatial]
    net, plan = thin(nn.Sequential(*layers).double())
    x = torch.randn(4, 200, 6, dtype=torch.float64)
    x = x.mT.contiguous() if spatial else x
    y = torch.func.vmap(net, randomness="same")(x)
    kept = net[2].forward.units.making()
    assert kept is not None
    mask = torch.zeros(40, dtype=torch.float64).index_fill(0, kept[0], 2.0)
    hidden = net[1](plan.undo(net)[0](x)) * (mask[:, None] if spatial else mask)
    assert torch.allclose(y, plan.undo(net)[3](hidden))


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("over", ["inputs", "parameters", "inputs, nested", "within another"])
def test_samples_of_a_vmap_keep_units_of_their_own_nowhere(over):
    net, _ = thin(mlp())
    x = torch.randn(3, 5, 6)
    parameters = {name: torch.stack([p.detach()] * 3) for name, p in net.named_parameters()}

    def run(randomness):
        vmap, same = torch.func.vmap, "same"
        if over == "parameters":
            call = torch.func.functional_call
            return vmap(lambda some: call(net, some, (x[0],)), randomness=randomness)(parameters)
        if over == "inputs":
            return vmap(net, randomness=randomness)(x)
        outer, inner = (same, randomness) if over == "within another" else (randomness, same)
        return vmap(vmap(net, randomness=inner), randomness=outer)(x[None])

    assert run("same").isfinite().all()
    with pytest.raises(RuntimeError, match="in randomness error mode"):
        run("error")
    with pytest.raises(RuntimeError, match="keeps the same units for all samples of a vmap; pass"):
        run("different")

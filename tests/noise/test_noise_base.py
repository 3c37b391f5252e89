"""The contract of the base classes: mode, rate, copies, checkpoints."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch import nn

from dropkit.noise import Dropout, GaussianDropout, MultiplicativeNoise, Noise, RatedNoise

LAYERS = [Dropout, GaussianDropout]


@pytest.mark.parametrize("make", LAYERS)
class TestMultiplicative:
    def test_evaluation_returns_the_input_itself(self, make):
        x = torch.randn(5)
        assert make(0.5).eval()(x) is x

    def test_training_perturbs(self, make):
        x = torch.ones(1000)
        assert not torch.equal(make(0.5)(x), x)

    def test_rate_zero_changes_nothing(self, make):
        x = torch.randn(5)
        assert torch.equal(make(0.0)(x), x)

    def test_rate_can_be_set(self, make):
        layer = make(0.5)
        layer.p = 0.25
        assert layer.p == 0.25
        assert layer.variance == pytest.approx(1 / 3)
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            layer.p = 1.5
        assert layer.p == 0.25

    @pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
    def test_rate_out_of_range(self, make, p):
        with pytest.raises(ValueError, match=r"p must lie in \[0, 1\]"):
            make(p)

    def test_from_keep_prob(self, make):
        assert make.from_keep_prob(0.8).p == pytest.approx(0.2)
        with pytest.raises(ValueError, match=r"q must lie in \[0, 1\]"):
            make.from_keep_prob(2)

    def test_repr_shows_the_rate(self, make):
        assert repr(make(0.3)) == f"{make.__name__}(p=0.3)"

    def test_rate_stays_exact(self, make):
        layer = make(0.1)
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        copies = [
            layer.half(),
            layer.to(torch.bfloat16),
            layer.to("meta"),
            copy.deepcopy(layer),
            pickle.loads(pickle.dumps(layer)),
            torch.load(file, weights_only=False),
        ]
        assert {other.p for other in copies} == {0.1}

    def test_loading_onto_another_device_leaves_the_rate(self, make):
        file = io.BytesIO()
        torch.save(nn.Sequential(nn.Linear(2, 2), make(0.1)), file)
        file.seek(0)
        loaded = torch.load(file, map_location="meta", weights_only=False)
        assert loaded[0].weight.is_meta
        assert loaded[1]._rate.is_cpu
        assert repr(loaded[1]) == f"{make.__name__}(p=0.1)"

    def test_loads_pickles_that_hold_the_rate_as_a_tensor(self, make, monkeypatch):
        with monkeypatch.context() as older:
            older.delattr(RatedNoise, "__getstate__")
            old = pickle.dumps(make(0.1))
        assert b"_rebuild_tensor" in old
        assert b"_rebuild_tensor" not in pickle.dumps(make(0.1))
        layer = pickle.loads(old)
        assert layer.p == 0.1
        assert layer(torch.ones(3)).shape == (3,)

    def test_a_deep_copy_has_a_rate_of_its_own(self, make):
        layer = make(0.1)
        copy.deepcopy(layer).p = 0.5
        copy.copy(layer).p = 0.6
        assert layer.p == 0.1

    def test_checkpoints_stay_loadable(self, make):
        plain, noisy = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), make(0.5))
        noisy.load_state_dict(plain.state_dict())
        assert noisy.state_dict().keys() == plain.state_dict().keys()
        assert list(make(0.5).parameters()) == list(make(0.5).buffers()) == []

    def test_made_on_another_default_device(self, make):
        with torch.device("meta"):
            assert make(0.3).p == 0.3


def test_variants_are_found_by_walking_the_base():
    assert set(LAYERS) <= set(MultiplicativeNoise.__subclasses__())
    assert issubclass(MultiplicativeNoise, Noise)


def test_a_base_is_not_a_layer():
    with pytest.raises(NotImplementedError):
        Noise()(torch.ones(2))
    with pytest.raises(NotImplementedError):
        _ = MultiplicativeNoise(0.5).variance

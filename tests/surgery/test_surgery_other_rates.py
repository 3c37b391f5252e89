"""Rates that lie elsewhere: in a configuration, as whole numbers, in compiled parts."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit._drops import drops_by_own_flag
from dropkit.noise import Dropout
from dropkit.noise._base import HoldsNoise
from dropkit.surgery import Report, rates, replace, set_rates, strip, wrap

X = torch.ones(2, 4)


def differ(model, x=X):
    return len({tuple(model(x).flatten().tolist()) for _ in range(20)}) > 1


class Skipping(nn.Module):
    """Skips its layer at a rate of its configuration, which another module holds too."""

    def __init__(self, config):
        super().__init__()
        self.config, self.layer = config, nn.Linear(4, 4)

    def forward(self, x):
        return x if self.is_skipped() else self.layer(x)

    def is_skipped(self):
        return self.training and torch.rand(()) < self.config.layerdrop

    def check_settings(self):
        return self.config.head_dropout > 0  # no rate that acts


class Configured(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        self.config = SimpleNamespace(**settings)
        self.first, self.second = Skipping(self.config), Skipping(self.config)
        self.head = nn.Dropout(self.config.head_dropout)  # read here alone

    def forward(self, x):
        return self.head(self.second(self.first(x)))


def test_a_rate_in_a_configuration():
    model = Configured(layerdrop=0.5, head_dropout=0.0)
    assert rates(model) == {"head": 0.0, "first.config.layerdrop": 0.5}
    assert differ(model)
    for new, report in (set_rates(model, 0.0), strip(model)):
        assert "first.config.layerdrop" in report.changed
        assert not differ(new)
        assert (new.config.layerdrop, model.config.layerdrop) == (0.0, 0.5)
        assert report.undo(new).config.layerdrop == 0.5
    new, report = replace(model, Dropout(0.1))
    assert report.changed == ("head",)
    assert report.left == ("first.config.layerdrop: 0.5 is a number inside SimpleNamespace",)


class Whole(nn.Module):
    def __init__(self, dropout=0, use_dropout=1):
        super().__init__()
        self.attention_dropout, self.use_dropout = dropout, use_dropout

    def forward(self, x):
        return F.dropout(x, self.attention_dropout, self.training) if self.use_dropout else x


def test_whole_numbers_are_rates_and_flags_are_not():
    assert rates(Whole()) == {"attention_dropout": 0.0}
    assert rates(Whole(True)) == {}
    new, report = set_rates(Whole(), 0.5)
    assert (report, differ(new), new.use_dropout) == (Report(("attention_dropout",)), True, 1)
    assert rates(report.undo(new)) == {"attention_dropout": 0.0}


class Local(nn.Module):
    def __init__(self):
        super().__init__()
        self.settings = SimpleNamespace(p_dropout=0.5)

    def forward(self, x):
        settings = self.settings
        return F.dropout(x, settings.p_dropout, self.training)


def test_a_setting_behind_a_variable_is_no_rate_in_the_code():
    assert rates(Local()) == {"settings.p_dropout": 0.5}
    new, report = strip(Local())
    assert (report.left, differ(new)) == ((), False)


@pytest.mark.filterwarnings("ignore")
def test_scripted_parts_are_left():
    body = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    with warnings.catch_warnings(action="ignore"):
        model = nn.Sequential(torch.jit.script(body), nn.Dropout(0.1))
        traced = torch.jit.trace(body.train(), X, check_trace=False)
    fixed = "0.1: is compiled by torch.jit, so its rate is fixed"
    assert rates(model) == {"1": 0.1}
    for operation in (strip, lambda m: replace(m, Dropout(0.1)), lambda m: set_rates(m, 0.2)):
        assert operation(model)[1] == Report(("1",), (fixed,))
    assert drops_by_own_flag(dict(model.named_modules())["0.1"]) is True
    assert "drops in every mode" in drops_by_own_flag(dict(traced.named_modules())["1"])
    assert drops_by_own_flag(traced) is False
    with pytest.raises(ValueError, match=r"0\.1: is compiled"):
        strip(model[:1])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_quantized_recurrent_layers(kind):
    model = nn.Sequential(kind(4, 8, 2, dropout=0.5))
    model = torch.ao.quantization.quantize_dynamic(model, {kind}, dtype=torch.qint8).train()
    assert rates(model) == {"0.dropout": 0.5}
    x = torch.randn(5, 2, 4)
    assert not torch.equal(model(x)[0], model(x)[0])
    assert drops_by_own_flag(model[0]) is True
    new, report = strip(model, copy=False)
    assert report.changed == ("0.dropout",)
    assert torch.equal(new(x)[0], new(x)[0])


class Mine(nn.Module, HoldsNoise):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.drop = layer, Dropout(0.5)

    def forward(self, x):
        return self.layer(self.drop(x))


def test_a_variant_of_ones_own_is_known_by_its_base():
    model, _ = wrap(nn.Sequential(nn.Linear(4, 4)), Mine, nn.Linear)
    _, report = replace(nn.Sequential(model, nn.Dropout(0.1)), nn.Dropout(0.2))
    assert report.left == ("0.0.drop: is part of Mine",)
    with pytest.raises(ValueError, match="held by Mine"):
        wrap(model, Mine, nn.Linear)

"""Healthy models that hardly depend on their dropout yet, and layers that are never called."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dropkit._doctor import doctor
from dropkit.noise import DropConnect, DropPath, WeightDrop

X = torch.randn(6, 4)


def found(model, x=X):
    torch.manual_seed(0)
    diagnosis = doctor(model, x)
    assert not diagnosis.skipped
    return {(f.check, f.path, f.severity) for f in diagnosis.findings}


class Headed(nn.Module):
    """Fresh networks end in a head of zeros, or nearly."""

    def __init__(self, scale, drop=None):
        super().__init__()
        self.body, self.drop = nn.Linear(4, 16), drop or nn.Dropout(0.5)
        self.head = nn.Linear(16, 3)
        nn.init.normal_(self.head.weight, std=scale)
        nn.init.ones_(self.head.bias)

    def forward(self, x):
        return self.head(self.drop(F.gelu(self.body(x))))


class Scaled(nn.Module):
    """A block of ConvNeXt: what it adds is scaled down at the beginning."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 4), nn.Parameter(torch.full((4,), 1e-7))
        self.path = DropPath(0.2)

    def forward(self, x):
        return x + self.path(self.scale * self.layer(x))


@pytest.mark.parametrize(
    ("make", "path"),
    [(lambda: Headed(0.0), "drop"), (lambda: Headed(1e-7), "drop"), (Scaled, "path")],
)
def test_a_head_or_scale_near_zero_is_no_error(make, path):
    assert found(make()) == {("no-variance", path, "note")}
    assert doctor(make(), X).healthy


def test_a_head_that_is_not_near_zero_has_no_finding():
    assert found(Headed(1e-2)) == set()


def test_a_rate_so_low_that_nothing_fell_is_no_error():
    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.path = nn.Linear(4, 4), DropPath(1e-6)

        def forward(self, x):
            return x + self.path(self.layer(x))

    assert found(Rare()) == {("no-variance", "path", "note")}


class Ignoring(Headed):
    def forward(self, x):
        self.drop(self.body(x))
        return self.head(F.gelu(self.body(x)))


class IgnoringCall(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        F.dropout(x, 0.5, self.training)
        return self.layer(x)


def test_a_result_that_is_not_used_stays_an_error():
    assert found(Ignoring(1.0)) == {("no-variance", "drop", "error")}
    assert found(Ignoring(0.0)) == {("no-variance", "drop", "error")}
    assert found(nn.Sequential(IgnoringCall(), nn.Tanh())) == {("no-variance", "0", "error")}


class Branching(nn.Module):
    """Has a layer that only other rows reach."""

    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.other = nn.Linear(4, 4), nn.Dropout(0.5), nn.Dropout(0.1)
        self.end = nn.Linear(4, 4)

    def forward(self, x):
        return self.end(self.drop(self.layer(x)) if len(x) < 100 else self.other(x))


class WithUncalled(Headed):
    def __init__(self):
        super().__init__(1.0)
        self.idle = nn.Dropout(0.3)


def test_layers_that_are_never_called_are_found_beside_others():
    assert found(WithUncalled()) == {("never-called", "idle", "warning")}
    (finding,) = doctor(WithUncalled(), X).findings
    assert finding.evidence == "is a dropout layer with p = 0.3, but is not called in forward"
    assert found(Branching()) == {("never-called", "other", "note")}


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(DropConnect(nn.Linear(4, 8), 0.3), nn.Linear(8, 2)),
        lambda: nn.Sequential(WeightDrop(nn.LSTM(4, 8, 2, dropout=0.3), 0.3), First()),
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    ],
)
def test_what_a_layer_calls_unseen_is_no_finding(make):
    assert not {check for check, *_ in found(make(), X[None])} & {"never-called"}


class First(nn.Module):
    def forward(self, x):
        return x[0] * 2


@pytest.mark.filterwarnings("ignore")
def test_scripted_parts_are_examined():
    body = torch.jit.script(nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5)))
    assert found(nn.Sequential(body, nn.Linear(32, 1))) == set()

"""Sampling switches every dropout on, nothing else, and leaves no trace."""

import functools
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropkit.noise import Dropout, GaussianDropout, GaussianNoise
from dropkit.prediction._sampling import sampling
from dropkit.scaling import ClassicDropout


class Functional(nn.Module):
    """Dropout as a function that follows the module's mode."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return F.dropout(self.norm(x), 0.5, training=self.training)


class Attention(nn.Module):
    """Dropout as a number that attention takes, the mode in a condition."""

    rate = 0.5

    def forward(self, x):
        return F.scaled_dot_product_attention(
            x, x, x, dropout_p=self.rate if self.training else 0.0
        )


class DropPath(nn.Module):
    """Drops by hand; only its name says so."""

    def forward(self, x):
        if not self.training:
            return x
        return x * torch.bernoulli(torch.full((len(x), 1), 0.5)) * 2


class Auxiliary(nn.Module):
    """Gives more outputs in training, and has dropout as a layer."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        y = self.dropout(x)
        if self.training:
            return y, x
        return y


class Plain(nn.Module):
    """Computes a literal no-dropout."""

    def forward(self, x):
        return F.dropout(x, 0.5, training=False)


class RowNoise(nn.Module):
    """Reads the mode for something that is not visibly dropout."""

    def forward(self, x):
        return x + torch.randn_like(x) if self.training else x


def transformer(**options):
    layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2)


def first(output):
    return output[0] if isinstance(output, tuple) else output


def draws(model, x):
    with torch.no_grad():
        return not torch.equal(first(model(x)), first(model(x)))


IMAGE = torch.ones(2, 3, 4, 4)
SEQUENCE = torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))

MODELS = {
    "dropkit": (lambda: Dropout(0.5), ROWS),
    "gaussian dropout": (lambda: GaussianDropout(0.5), ROWS),
    "gaussian noise": (lambda: GaussianNoise(0.5), ROWS),
    "root": (lambda: nn.Dropout(0.5), ROWS),
    "nested": (lambda: nn.Sequential(nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))), ROWS),
    "channels": (lambda: nn.Dropout2d(0.5), IMAGE),
    "alpha": (lambda: nn.AlphaDropout(0.5), ROWS),
    "feature alpha": (lambda: nn.FeatureAlphaDropout(0.5), IMAGE),
    "lstm": (lambda: nn.LSTM(6, 6, 2, dropout=0.5), SEQUENCE),
    "gru": (lambda: nn.GRU(6, 6, 2, dropout=0.5), SEQUENCE),
    "transformer": (transformer, SEQUENCE),
    "functional": (Functional, ROWS),
    "attention function": (Attention, SEQUENCE),
    "drop path": (DropPath, ROWS),
    "auxiliary": (Auxiliary, ROWS),
    "classic": (lambda: ClassicDropout(nn.Dropout(0.5)), ROWS),
}


@pytest.mark.parametrize("name", MODELS)
def test_draws_inside_and_not_outside(name):
    torch.manual_seed(0)
    make, x = MODELS[name]
    model = make().eval()
    assert not draws(model, x)
    with sampling(model):
        assert draws(model, x)
    assert not draws(model, x)


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_attention_weights_are_dropped(rate):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(6, 2, dropout=rate, batch_first=True).eval()
    with sampling(attention), torch.no_grad():
        seen = {first(attention(SEQUENCE, SEQUENCE, SEQUENCE)).sum().item() for _ in range(5)}
    assert (len(seen) > 1) == (rate > 0)


def test_padded_transformer_draws():
    # Padding takes the nested tensors of the encoder's own fast path.
    model = transformer().eval()
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    with sampling(model), torch.no_grad():
        a, b = (model(SEQUENCE, src_key_padding_mask=padding) for _ in range(2))
    assert not torch.equal(a, b)


def test_only_dropout_is_switched():
    model = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), Functional()).eval()
    before = deepcopy(model.state_dict())
    with sampling(model) as switches:
        assert switches.switched_on == ("2", "3")
        assert not any(model.get_submodule(name).training for name in ("", "0", "1", "3.norm"))
        model(ROWS)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_batchnorm_in_training_stays_there():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    model[1].eval()
    with sampling(model):
        assert model[0].training
        assert model[1].training
    assert model[0].training
    assert not model[1].training


def test_extra_outputs_of_training_stay_away():
    model = Auxiliary().eval()
    with sampling(model) as switches:
        assert isinstance(model(ROWS), torch.Tensor)
    assert switches.switched_on == ("dropout",)
    assert switches.left[0].startswith(": reads self.training, but not visibly for dropout")


def test_also_switches_what_cannot_be_seen():
    model = nn.Sequential(RowNoise()).eval()
    with sampling(model) as switches:
        assert not draws(model, ROWS)
    assert switches.left[0].startswith("0: reads self.training")
    with sampling(model, extra_modules=[model[0]]) as switches:
        assert draws(model, ROWS)
    assert switches.switched_on == ("0",)
    assert not switches.left
    with (
        pytest.raises(ValueError, match="not in it: RowNoise"),
        sampling(model, extra_modules=[RowNoise()]),
    ):
        pass


def test_class_without_source_is_left_and_named():
    names = {"nn": nn, "F": F}
    exec(
        "class Hidden(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return F.dropout(x, 0.5, self.training)\n",
        names,
    )
    names["Hidden"].__module__ = "nowhere"
    with sampling(names["Hidden"]().eval()) as switches:
        assert switches.switched_on == ()
    assert "its source is not available" in switches.left[0]


def test_literal_no_dropout_is_respected():
    model = Plain().eval()
    with sampling(model) as switches:
        assert not draws(model, ROWS)
    assert switches.switched_on == ()
    assert switches.left == ()


def test_lstm_of_one_layer_is_named():
    with pytest.warns(UserWarning, match="num_layers"):
        model = nn.LSTM(6, 6, 1, dropout=0.5).eval()
    with sampling(model) as switches:
        pass
    assert switches.left == (": dropout=0.5 acts between layers, and there is only one",)


@pytest.mark.parametrize("mode", [True, False])
def test_modes_and_hooks_return_after_an_error(mode):
    model = nn.Sequential(nn.Dropout(0.5), Functional()).train(mode)
    with pytest.raises(RuntimeError, match="inside"), sampling(model):
        raise RuntimeError("inside")
    assert all(module.training == mode for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_survives_eval():
    model = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5)).train()
    with sampling(model):
        model.eval()
        assert draws(model, ROWS)
        assert not model[0].training


def test_nests():
    model = nn.Sequential(nn.Dropout(0.5)).eval()
    with sampling(model):
        with sampling(model):
            assert draws(model, ROWS)
        assert draws(model, ROWS)
    assert not draws(model, ROWS)


def test_shared_module_is_restored():
    layer = nn.Dropout(0.5)
    model = nn.Sequential(layer, nn.Sequential(layer)).eval()
    with sampling(model) as switches:
        assert switches.switched_on == ("0",)
        assert layer.training
    assert not layer.training


def test_needs_a_module():
    with (
        pytest.raises(TypeError, match=r"must be a torch\.nn\.Module, got function"),
        sampling(first),
    ):
        pass


def test_a_decorated_forward_pass_is_read():
    def decorated(function):
        @functools.wraps(function)
        def call(*args):
            return function(*args)

        return call

    class Wrapped(nn.Module):
        @decorated
        def forward(self, x):
            return F.dropout(x, 0.5, training=self.training)

    with sampling(nn.Sequential(Wrapped()).eval()) as switches:
        assert switches.switched_on == ("0",)

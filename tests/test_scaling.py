"""Both conventions are the same network, and the way back is exact to rounding."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from dropkit.noise import Dropout, Dropout1d, Dropout2d, Dropout3d, GaussianDropout
from dropkit.scaling import ClassicDropout, from_classic, to_classic
from dropkit.surgery import insert

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def mlp(p_input=0.2, p_hidden=0.5):
    torch.manual_seed(0)
    return nn.Sequential(
        Dropout(p_input),
        nn.Linear(6, 8),
        nn.ReLU(),
        nn.Dropout(p_hidden),
        nn.Linear(8, 8),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Linear(8, 3),
    ).double()


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout2d(0.3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.ConvTranspose2d(4, 3, 2, groups=1),
        nn.Dropout(0.1),
        nn.Flatten(),
        Dropout(0.6),
        nn.Linear(48, 5),
    ).double()


def seeded(model, x):
    torch.manual_seed(7)
    return model(x)


def state_equal(a, b):
    a, b = a.state_dict(), b.state_dict()
    return list(a) == list(b) and all(torch.allclose(a[k], b[k], rtol=1e-14) for k in a)


CASES = {"mlp": (mlp, (5, 6)), "cnn": (cnn, (2, 1, 9, 9))}


@pytest.mark.parametrize("name", CASES)
def test_the_same_network_in_training_and_at_test(name):
    build, shape = CASES[name]
    model = build()
    classic = to_classic(model)
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(
        seeded(classic.train(), x), seeded(model.train(), x), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(classic.eval()(x), model.eval()(x), rtol=1e-12, atol=1e-12)
    assert not any(isinstance(m, ClassicDropout) for m in model.modules())


def test_training_differs_without_the_factor():
    # The check above can fail: classic layers on inverted weights are another network.
    model = mlp()
    classic = to_classic(model)
    weights = model.state_dict()
    classic.load_state_dict(weights)
    x = torch.randn(5, 6, dtype=torch.float64)
    assert float((classic.eval()(x) - model.eval()(x)).detach().abs().max()) > 0.01


def test_the_weight_after_the_dropout_absorbs_the_factor_and_no_bias_does():
    model = mlp(p_input=0.2, p_hidden=0.5)
    classic = to_classic(model)
    for layer, keep in ((1, 0.8), (4, 0.5), (7, 0.7)):
        torch.testing.assert_close(classic[layer].weight, model[layer].weight / keep)
        assert torch.equal(classic[layer].bias, model[layer].bias)
    assert [type(m).__name__ for m in (classic[0], classic[3])] == ["ClassicDropout"] * 2


def test_two_dropouts_before_one_weight_multiply():
    model = nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(2, 2)).double()
    torch.testing.assert_close(to_classic(model)[3].weight, model[3].weight / 0.4)
    assert state_equal(from_classic(to_classic(model)), model)


@pytest.mark.parametrize("name", CASES)
def test_the_round_trip_is_exact_to_rounding(name):
    model = CASES[name][0]()
    back = from_classic(to_classic(model))
    assert state_equal(back, model)
    assert str(back) == str(model)
    for parameter, old in zip(back.parameters(), model.parameters(), strict=True):
        assert parameter.requires_grad == old.requires_grad
        assert parameter is not old


@pytest.mark.parametrize("mode", [True, False])
def test_modes_and_shared_layers_are_kept(mode):
    drop = nn.Dropout(0.5)
    model = nn.Sequential(drop, nn.Linear(2, 2), drop, nn.Linear(2, 2)).train(mode)
    classic = to_classic(model)
    assert classic[0] is classic[2]
    for converted in (classic, from_classic(classic)):
        assert converted[0] is converted[2]
        assert {module.training for module in converted.modules()} == {mode}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_weights_are_divided_by_the_exact_factor(dtype):
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 64)).to(dtype)
    expected = (model[1].weight.double() / 0.8).to(dtype)
    same = (to_classic(model)[1].weight == expected).double().mean()
    assert float(same) > 0.999  # ties in float32 may round the other way


@settings(max_examples=100, deadline=None)
@given(
    p=st.floats(0.0, 0.999),
    dtype=st.sampled_from(FLOATS),
    exponent=st.integers(-10, 4),
    seed=st.integers(0, 2**32),
)
def test_the_round_trip_is_exact_to_rounding_for_any_rate_dtype_and_scale(p, dtype, exponent, seed):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Dropout(p), nn.Linear(64, 16)).to(dtype)
    draw = torch.randn(16, 64, dtype=torch.float64, generator=generator) * 2.0**exponent
    draw[0, :3] = torch.tensor([0.0, -0.0, 1.0])
    weight = model[1].weight.data.copy_(draw).clone()
    back = from_classic(to_classic(model))[1].weight
    # Two factors and two products are rounded, each to eps / 2.
    limits = torch.finfo(dtype)
    torch.testing.assert_close(back, weight, rtol=2.5 * limits.eps, atol=2 * limits.smallest_normal)
    assert torch.equal(back.signbit(), weight.signbit())


def test_the_state_has_the_keys_of_the_model():
    model = mlp()
    assert list(to_classic(model).state_dict()) == list(model.state_dict())


def test_takes_a_checkpoint_of_classic_weights():
    model = mlp().float()
    checkpoint = {name: torch.randn_like(entry) for name, entry in model.state_dict().items()}
    classic = to_classic(model)
    classic.load_state_dict(checkpoint)
    inverted = from_classic(classic)
    assert list(inverted.state_dict()) == list(checkpoint)
    for layer, keep in ((1, 0.8), (4, 0.5), (7, 0.7)):
        assert torch.equal(inverted[layer].weight, keep * checkpoint[f"{layer}.weight"])
    x = torch.randn(5, 6)
    torch.testing.assert_close(classic.eval()(x), inverted.eval()(x))


def test_weights_trained_further_are_multiplied():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Dropout(0.2), nn.Linear(64, 64))
    classic = to_classic(model)
    with torch.no_grad():
        classic[1].weight[0] += 1.0
        classic[1].weight[1] = 0.0
    back = from_classic(classic)
    torch.testing.assert_close(back[1].weight[0], 0.8 * classic[1].weight[0], rtol=1e-6, atol=0)
    assert not back[1].weight[1].any()
    torch.testing.assert_close(back[1].weight[2:], model[1].weight[2:], rtol=1e-6, atol=0)


class Step(nn.Module):
    """A module without children whose forward pass branches on values."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_layer_after_a_step_that_branches_is_found():
    model = nn.Sequential(nn.Linear(3, 4), Step(), nn.Linear(4, 2))
    model, _ = insert(model, nn.Dropout(0.2), after=Step)
    torch.testing.assert_close(to_classic(model)[2].weight, model[2].weight / 0.8)


def test_inserted_layers_are_found():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    model, _ = insert(model, nn.Dropout(0.2))
    classic = to_classic(model)
    torch.testing.assert_close(classic[2].weight, model[2].weight / 0.8)
    x = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(seeded(classic, x), seeded(model, x))
    torch.testing.assert_close(classic.eval()(x), model.eval()(x))
    assert state_equal(from_classic(classic), model)


def test_shared_dropout_layers_and_functions_between():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.2)
            self.first, self.second = nn.Conv1d(2, 3, 2), nn.Linear(12, 2)

        def forward(self, x):
            x = torch.relu(self.first(self.drop(x)))
            return self.second(self.drop(x).view(x.size(0), -1).flatten(1))

    model = Net().double()
    classic = to_classic(model)
    x = torch.randn(4, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(seeded(classic, x), seeded(model, x))
    assert state_equal(from_classic(classic), model)


@pytest.mark.parametrize(
    ("kind", "convolution", "space"),
    [(Dropout1d, nn.Conv1d, 1), (Dropout2d, nn.Conv2d, 2), (Dropout3d, nn.Conv3d, 3)],
)
def test_channel_dropout_is_converted(kind, convolution, space):
    torch.manual_seed(0)
    model = nn.Sequential(kind(0.25), convolution(3, 2, 2)).double()
    classic = to_classic(model)
    assert isinstance(classic[0], ClassicDropout)
    torch.testing.assert_close(classic[1].weight, model[1].weight / 0.75)
    x = torch.randn(4, 3, *(5,) * space, dtype=torch.float64)
    torch.testing.assert_close(seeded(classic, x), seeded(model, x))
    dropped = classic[0](x) == 0
    assert torch.equal(dropped, dropped.flatten(2).all(2).view(4, 3, *(1,) * space).expand_as(x))
    assert dropped.any()
    torch.testing.assert_close(classic.eval()(x), model.eval()(x))
    assert state_equal(from_classic(classic), model)


def test_noise_of_mean_one_needs_no_factor():
    model = nn.Sequential(GaussianDropout(0.2), nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    classic = to_classic(model)
    assert isinstance(classic[0], GaussianDropout)
    assert torch.equal(classic[1].weight, model[1].weight)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(2, 2), nn.Dropout(0.5)

    def forward(self, x):
        return self.layer(x + self.drop(x))


class FunctionBetween(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(2, 2), nn.Dropout(0.5)

    def forward(self, x):
        return self.layer(torch.sigmoid(self.drop(x)))


class Transposed(nn.Module):
    """Reads an attribute of what was dropped: what is moved by it, or another."""

    def __init__(self, attribute):
        super().__init__()
        self.layer, self.drop, self.attribute = nn.Linear(3, 3), nn.Dropout(0.2), attribute

    def forward(self, x):
        return self.layer(getattr(self.drop(x).reshape(x.shape), self.attribute))


class Called(nn.Module):
    """Drops by a function, before or after a dropout layer."""

    def __init__(self, attention=False):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2)
        self.attention = attention

    def forward(self, x):
        x = self.last(self.drop(x))
        if self.attention:
            return F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)
        return self.first(F.dropout(x, 0.1, self.training))


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(2, 2), nn.Dropout(0.5)

    def forward(self, x):
        return self.layer(self.drop(x)) if x.sum() > 0 else x


def tied():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.Linear(2, 2))
    model[2].weight = model[0].weight
    return model


def called_twice():
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Dropout(0.5), layer)


@pytest.mark.parametrize("attribute", ["T", "mT"])
def test_the_factor_goes_through_a_transposition(attribute):
    model = Transposed(attribute).double()
    classic = to_classic(model)
    assert torch.allclose(classic.layer.weight, model.layer.weight / 0.8)
    x = torch.randn(3, 3, dtype=torch.float64)
    assert torch.allclose(classic.eval()(x), model.eval()(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2), "Linear must hold one of Dropout"),
        (nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)), "it goes to 'output'"),
        (nn.Sequential(nn.Dropout(0.5), nn.Sigmoid(), nn.Linear(2, 2)), "it goes to '1'"),
        (nn.Sequential(nn.Dropout(0.5), nn.LayerNorm(2), nn.Linear(2, 2)), "it goes to '1'"),
        (nn.Sequential(nn.Dropout(0.5), nn.LSTM(2, 2)), "it goes to '1'"),
        (nn.Sequential(nn.Dropout(1.0), nn.Linear(2, 2)), "p must be below 1 before 1"),
        (nn.LSTM(2, 2, 2, dropout=0.5), "dropout inside LSTM cannot be converted"),
        (nn.Sequential(nn.TransformerEncoderLayer(4, 2)), "dropout inside MultiheadAttention"),
        (tied(), r"2\.weight must have one user"),
        (called_twice(), "0 must always follow the same dropout"),
        (FunctionBetween(), "of 'drop' must .* it goes to '.*sigmoid.*', which cannot absorb"),
        (Residual(), "cannot absorb the factor"),
        (Transposed("data"), "of 'drop' must .* it goes to 'data', which cannot absorb"),
        (Called(), "dropout by a call of dropout cannot be converted"),
        (Called(True), "dropout by a call of scaled_dot_product_attention cannot be converted"),
        (Branching(), "must not branch on values"),
        (to_classic(mlp()), "inverted must be called in the forward pass"),
    ],
)
def test_refuses_what_cannot_absorb_the_factor(model, message):
    with pytest.raises(ValueError, match=message):
        to_classic(model)


def test_refuses_weights_that_overflow():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2)).half()
    model[1].weight.data.fill_(6e4)
    with pytest.raises(ValueError, match=r"1\.weight / 0\.5 must be finite"):
        to_classic(model)


def test_a_classic_model_may_be_built_by_hand():
    model = nn.Sequential(ClassicDropout(nn.Dropout(0.2)), nn.Linear(3, 2))
    inverted = from_classic(model)
    assert type(inverted[0]) is nn.Dropout
    assert torch.equal(inverted[1].weight, 0.8 * model[1].weight)


def test_from_classic_refuses_an_inverted_model():
    with pytest.raises(ValueError, match="must hold one of ClassicDropout"):
        from_classic(mlp())


@pytest.mark.parametrize(
    "flat",
    [
        lambda x: x.view(x.shape[0], -1),
        lambda x: x.view(x.size()[0], -1),
        lambda x: x.reshape(x.size(0), x.size(1) * x.size(2) * x.size(3)),
    ],
)
def test_sizes_may_be_taken_apart_on_the_way(flat):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.drop, self.out = nn.Conv2d(1, 2, 3), nn.Dropout2d(0.2), nn.Linear(8, 2)

        def forward(self, x):
            return self.out(flat(self.drop(self.conv(x))))

    net, x = Net().double().eval(), torch.randn(3, 1, 4, 4, dtype=torch.float64)
    assert torch.allclose(to_classic(net)(x), net(x))

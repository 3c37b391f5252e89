"""What is averaged of what a model returns, and which layers take part in it."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropkit.noise import DropConnect, Dropout, MultiSampleDropout, StochasticDepth
from dropkit.prediction import compare_averaging, predict

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def network(outputs=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, outputs)).eval()


class Returns(nn.Module):
    def __init__(self, make, outputs=3):
        super().__init__()
        self.net, self.make = network(outputs), make

    def forward(self, x):
        return self.make(self.net(x))


MAPPING = {
    "mapping": (lambda y: {"loss": None, "logits": y}, None),
    "object": (lambda y: SimpleNamespace(logits=y), None),
    "named": (lambda y: {"mean": y}, "mean"),
    "attribute": (lambda y: SimpleNamespace(mean=y), "mean"),
    "tuple": (lambda y: (y, None), lambda returned: returned[0]),
}


@pytest.mark.parametrize("given", [X, {"x": X}])
@pytest.mark.parametrize("name", MAPPING)
def test_the_part_asked_for_is_averaged(name, given):
    make, output = MAPPING[name]
    expected = predict(network(), (X,), 20, seed=1)
    if given is X:
        expected = predict(network(), X, 20, seed=1)
    found = predict(Returns(make), given, 20, seed=1, output=output, task="regression")
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.variance, expected.variance)


def test_logits_are_not_averaged_without_a_word():
    model = Returns(lambda y: {"logits": y})
    with pytest.warns(UserWarning, match="the logits are averaged; .* task='classification'"):
        found = predict(model, X, 5)
    assert found.task == "regression"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probabilities = predict(model, X, 5, task="classification")
        predict(model, X, 5, task="regression")
        predict(Returns(lambda y: {"logits": y}, outputs=1), X, 5)  # a target, not classes
        predict(network(), X, 5)
        compare_averaging(network(), X, torch.arange(6) % 3, 5)
    assert probabilities.task == "classification"
    torch.testing.assert_close(probabilities.mean.sum(1), torch.ones(6))


@pytest.mark.parametrize("name", MAPPING)
def test_weight_scaling_is_compared_for_the_part_asked_for(name):
    make, output = MAPPING[name]
    y = torch.arange(6) % 3
    expected = compare_averaging(network(), X, y, 20, seed=1)
    found = compare_averaging(Returns(make), X, y, 20, seed=1, output=output)
    for way, loss in expected.loss.items():
        torch.testing.assert_close(found.loss[way], loss)


def test_what_cannot_be_averaged_is_refused_with_the_way_out():
    with pytest.raises(TypeError, match=r"got tuple; .* output=lambda returned: returned\[0\]"):
        predict(Returns(lambda y: (y, None)), X, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_arrays_of_floats_take_the_type_of_the_model(dtype):
    model = network().to(dtype)
    array = X.to(dtype).double().numpy()
    found = predict(model, array, 10, seed=0)
    assert torch.equal(found.mean, predict(model, X.to(dtype), 10, seed=0).mean)
    twice = predict(model, (array,), 10, seed=0)
    assert twice.mean.shape == found.mean.shape


def test_arrays_of_codes_stay_whole_numbers():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Dropout(0.5)).eval()
    assert predict(model, np.array([0, 1, 4]), 10).mean.shape == (3, 4)


class Guarded(nn.Module):
    """Asks for its own mode before it calls its dropout, as DoRA's layers do."""

    def __init__(self, rate=0.5):
        super().__init__()
        self.base = nn.Linear(4, 4)
        self.drops = nn.ModuleDict({"default": nn.Dropout(rate)})

    def forward(self, x):
        return self.base(x) + (apply(self, x) if self.training else x)


def apply(layer, x):
    return layer.drops["default"](x)


def test_a_layer_that_waits_for_the_mode_of_the_module_around_it_is_named():
    model = nn.Sequential(Guarded(), nn.Dropout(0.1)).eval()
    with pytest.raises(ValueError, match=r"'0\.drops\.default' waits for '0'\.") as caught:
        predict(model, X, 10)
    assert "extra_modules=[model.get_submodule('0')]" in str(caught.value)
    found = predict(model, X, 4000, seed=0, extra_modules=[model.get_submodule("0")]).variance
    with torch.no_grad():
        every = torch.stack([model.train()(X) for _ in range(4000)]).var(0)
    assert (found / every - 1).abs().max() < 0.2
    predict(nn.Sequential(Guarded(0.0), nn.Dropout(0.1)), X, 10)


class Updating(Guarded):
    """Counts its calls in training mode, in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        if self.training:
            self.calls += 1
        return super().forward(x)


def test_buffers_are_left_as_they_were_by_the_trial():
    model = nn.Sequential(Updating(), nn.Dropout(0.1)).eval()
    with pytest.raises(ValueError, match="waits for '0'"):
        predict(model, X, 10)
    assert model[0].calls == 0


class Experts(nn.Module):
    """Sends each row to the expert of its largest feature; in training after adding noise."""

    def __init__(self, noise):
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)) for _ in range(4)
        )
        self.noise = noise

    def forward(self, x):
        routed = x + self.noise * torch.randn_like(x) if self.training else x
        chosen, found = routed.argmax(1), torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            if (chosen == i).any():
                found[chosen == i] = expert(x[chosen == i])
        return found


@pytest.mark.filterwarnings("error")
def test_experts_are_looked_for_in_all_rows():
    assert predict(Experts(0.0), torch.eye(4), 10).variance.any()


def test_an_expert_that_noise_chooses_does_not_wait_for_the_mode():
    with pytest.warns(UserWarning, match="are not called on x .* variance: experts.3.1$"):
        found = predict(Experts(9.0), torch.eye(4)[:3].repeat(9, 1), 10)
    assert found.variance.any()


class Head(nn.Module):
    """Holds a layer that no forward pass calls."""

    def __init__(self):
        super().__init__()
        self.drop, self.spare = nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(x)


def test_a_layer_that_is_never_called_is_named():
    with pytest.warns(
        UserWarning, match="are not called on x and do not contribute to the variance: spare$"
    ):
        predict(Head(), X, 10)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: DropConnect(nn.Linear(4, 4)),
        lambda: StochasticDepth(nn.Linear(4, 4)),
        lambda: MultiSampleDropout(nn.Linear(4, 4)),
        lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        lambda: Dropout(0.5),
    ],
)
def test_layers_that_take_part_are_not_named(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(nn.Sequential(nn.Unflatten(0, (3, 2)), layer()), X, 5)


class Functional(nn.Module):
    """Takes no more than the rate of its layer, as attention does in many models."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return F.dropout(x, self.dropout.p, self.training)


def test_dropout_as_a_function_takes_part():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert predict(Functional(), X, 5).variance.any()

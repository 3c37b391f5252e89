"""What is computed on the CPU stays there, whatever torch's default device is."""

import numpy as np
import pytest
import torch
from torch import nn

import dropkit
import dropkit.study
from dropkit import noise
from dropkit.adapters.sklearn import DropoutClassifier
from dropkit.analytic import (
    DropoutLogistic,
    DropoutRidge,
    class_probabilities,
    explicit_penalty,
    joint,
    moments,
)
from dropkit.random import dispatch, keep_mask
from dropkit.thinned import LazyOptimizer, _matrix, gradient_noise


@pytest.fixture
def net():
    return nn.Sequential(
        *(noise.Dropout(0.2), nn.Linear(20, 64), nn.ReLU()),
        *(noise.Dropout(0.5), nn.Linear(64, 64), nn.ReLU()),
        *(noise.GaussianDropout(0.5), nn.Linear(64, 3)),
    )


@pytest.fixture
def x():
    return torch.randn(256, 20)


@pytest.fixture(params=["compiled", "reference"])
def elsewhere(request, monkeypatch, net, x):
    """The default device, once the model and its input are made, has no numbers at all."""
    if request.param == "reference":
        monkeypatch.setattr(dispatch, "_kernel", None)
        monkeypatch.setattr(_matrix, "kernel", None)
    with torch.device("meta"):
        yield


def images():
    return torch.randn(200, 3, 8, 8, device="cpu")


def sequences():
    return torch.randn(40, 10, 16, device="cpu")


def tokens():
    return torch.randint(9, (4, 5), device="cpu")


def rows():
    return torch.randn(64, 20, device="cpu")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("made", "given"),
    [
        (lambda: noise.AlphaDropout(0.5), rows),
        (lambda: noise.FeatureAlphaDropout(0.5), images),
        (lambda: noise.Dropout2d(0.5), images),
        (lambda: noise.DropBlock2d(0.2, 3), images),
        (lambda: noise.DropPath(0.5), rows),
        (lambda: noise.GaussianNoise(0.5), rows),
        (lambda: noise.ConcreteDropout(nn.Linear(20, 5)), rows),
        (lambda: noise.VariationalDropout(nn.Linear(20, 5)), rows),
        (lambda: noise.TargetedDropout(nn.Linear(20, 5)), rows),
        (lambda: noise.DropConnect(nn.Linear(20, 5)), rows),
        (lambda: noise.MultiSampleDropout(nn.Linear(20, 5), 0.5), rows),
        (lambda: noise.LayerDrop([nn.Linear(20, 20), nn.Linear(20, 20)], 0.5), rows),
        (lambda: noise.Standout(), rows),
        (lambda: noise.LockedDropout(0.5), sequences),
        (lambda: noise.PatchDropout(0.5), sequences),
        (lambda: noise.WeightDrop(nn.LSTM(16, 8, batch_first=True), p=0.5), sequences),
        (lambda: noise.EmbeddingDropout(nn.Embedding(10, 4), 0.5), tokens),
        (lambda: noise.WordDropout(0.3, unknown=0), tokens),
    ],
)
def test_layers(made, given):
    with torch.device("cpu"):
        layer = made()
    y = layer(given())
    assert (y[0] if isinstance(y, tuple) else y).is_cpu


@pytest.mark.usefixtures("elsewhere")
def test_masks():
    assert keep_mask((3, 700), 0.5, seed=3).is_cpu


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("groups", [1, 2])
def test_thinned(net, x, groups):
    thinned, _ = dropkit.thin(net, groups=groups)
    for made in (torch.optim.SGD, torch.optim.Adam):
        options = {"momentum": 0.9} if made is torch.optim.SGD else {}
        optimizer = LazyOptimizer(made(thinned.parameters(), lr=0.1, **options), thinned)
        thinned(x).square().sum().backward()
        optimizer.step()
    gradient_noise(thinned, [x, x], lambda model, batch: model(batch).square().mean())


@pytest.mark.usefixtures("elsewhere")
def test_prediction_and_advice(net, x):
    y = torch.randint(3, (256,), device="cpu")
    assert dropkit.predict(net.eval(), x, 10, task="classification").mean.is_cpu
    dropkit.prediction.compare_averaging(net, x, y)
    dropkit.max_norm_(dropkit.prediction.mean_network(net), 0.3)
    for example in (x, x.numpy()):
        assert not dropkit.doctor(net, example).findings


@pytest.mark.usefixtures("elsewhere")
def test_analytic(net, x):
    assert class_probabilities(moments(net)(x)).mean.is_cpu
    assert joint(moments(net), x).mean.is_cpu
    with torch.no_grad():
        assert explicit_penalty(net.train(), x).is_cpu


@pytest.mark.usefixtures("elsewhere")
def test_a_study():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4))
    results = dropkit.study.compare(
        rows, rows[:, 0], methods="none,dropout,dropout-ridge", seeds=1, epochs=1, jobs=1
    )
    assert [run.status for run in results.runs] == ["finished"] * 3


@pytest.mark.usefixtures("elsewhere")
def test_estimators(x):
    rows, classes = x.numpy().astype(float), np.arange(256) % 3
    assert len(DropoutRidge(0.5).fit(rows, rows[:, 0]).predict(rows)) == 256
    assert len(DropoutLogistic(0.5).fit(rows, classes, X_unlabelled=rows).predict(rows)) == 256
    two = DropoutLogistic(0.5, form="gaussian").fit(rows, classes > 1)
    assert len(two.predict(rows)) == 256
    assert len(DropoutClassifier(epochs=2, samples=5).fit(rows, classes).predict(rows)) == 256

"""The estimators keep scikit-learn's contract, and their uncertainty is what it says."""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from dropkit.adapters.sklearn import DropoutClassifier, DropoutRegressor
from dropkit.schedule import late, linear

SMALL = {"hidden_layer_sizes": (16,), "epochs": 5, "samples": 10, "random_state": 0}
KINDS = [DropoutClassifier, DropoutRegressor]


def data(kind, n=80):
    make = make_classification if kind is DropoutClassifier else make_regression
    return make(n, 6, n_informative=4, random_state=0)


def outputs(estimator, X):
    """All that an estimator says about these rows."""
    if isinstance(estimator, DropoutClassifier):
        return estimator.predict_proba(X)
    return np.stack(estimator.predict(X, return_std=estimator.samples > 0))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_of_scikit_learn(kind):
    check_estimator(kind(epochs=40, samples=5))


@pytest.mark.parametrize("kind", KINDS)
def test_random_state_decides_all_and_no_global_state_is_touched(kind):
    X, y = data(kind)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)
        before = torch.get_rng_state(), np.random.get_state()[1].copy()
        found.append(outputs(kind(**SMALL).fit(X, y), X))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (np.random.get_state()[1] == before[1]).all()
    assert (found[0] == found[1]).all()
    other = kind(**{**SMALL, "random_state": 1}).fit(X, y)
    assert not np.allclose(outputs(other, X), found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_trainings_in_threads_do_not_disturb_each_other(kind):
    X, y = data(kind)
    estimators = [kind(**{**SMALL, "random_state": seed}) for seed in range(4)]
    alone = [clone(estimator).fit(X, y).module_.state_dict() for estimator in estimators]
    with ThreadPoolExecutor(4) as pool:
        together = pool.map(lambda e: e.fit(X, y).module_.state_dict(), estimators)
        for first, second in zip(alone, together, strict=True):
            assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_every_type(kind):
    X, y = data(kind)
    X = np.round(X * 3).clip(-100, 100)
    expected = outputs(kind(**SMALL).fit(X, y), X)
    for dtype in (np.int8, np.int64, np.float16, object):
        assert (outputs(kind(**SMALL).fit(X.astype(dtype), y), X.astype(dtype)) == expected).all()
    single = kind(**SMALL).fit(X.astype(np.float32), y)
    assert single.module_[1].weight.dtype == torch.float32
    assert np.allclose(outputs(single, X), expected, rtol=0.02, atol=0.02 * np.abs(expected).max())


def test_mean_and_deviation_against_all_masks():
    """A linear model of six features has 64 thinned ones: their moments, in the targets' unit."""
    X, y = data(DropoutRegressor)
    p, samples = 0.3, 4000
    net = DropoutRegressor((), input_p=p, samples=samples, epochs=20, random_state=0).fit(X, y)
    weight, bias = (t.detach().numpy() for t in net.module_[-1].parameters())
    masks = np.array(list(itertools.product([0, 1], repeat=6)))
    chance = np.prod(np.where(masks, 1 - p, p), axis=1)
    every = (X[:5, None] * masks / (1 - p)) @ weight[0] * y.std() + bias * y.std() + y.mean()
    exact = every @ chance
    second, fourth = (((every - exact[:, None]) ** power) @ chance for power in (2, 4))
    mean, std = net.predict(X[:5], return_std=True)
    assert (np.abs(mean - exact) < 4.5 * np.sqrt(second / samples)).all()
    error = np.sqrt((fourth - second**2) / samples)
    assert (np.abs(std**2 - second) < 4.5 * error).all()
    assert (net.predict(X[:5]) == mean).all()


def test_probabilities_against_all_masks():
    X, y = data(DropoutClassifier)
    p, samples = 0.3, 4000
    net = DropoutClassifier((), input_p=p, samples=samples, epochs=20, random_state=0).fit(X, y)
    masks = torch.tensor(list(itertools.product([0.0, 1.0], repeat=6)), dtype=torch.float64)
    chance = (masks * (1 - p) + (1 - masks) * p).prod(1)
    with torch.no_grad():
        every = net.module_[-1](torch.tensor(X[:5, None]) * masks / (1 - p)).softmax(-1)[..., 1]
    exact = every @ chance
    spread = ((every - exact[:, None]) ** 2 @ chance).sqrt()
    found = net.predict_proba(X[:5])
    assert np.allclose(found.sum(1), 1)
    assert (np.abs(found[:, 1] - exact.numpy()) < 4.5 * spread.numpy() / samples**0.5).all()


@pytest.mark.parametrize("kind", KINDS)
def test_without_samples_the_mean_network_predicts(kind):
    X, y = data(kind)
    net = kind(**{**SMALL, "samples": 0}).fit(X, y)
    with torch.no_grad():
        output = net.module_(torch.tensor(X))
    if kind is DropoutClassifier:
        assert np.allclose(net.predict_proba(X), output.softmax(1))
    else:
        assert np.allclose(net.predict(X), output[:, 0] * y.std() + y.mean())
        with pytest.raises(ValueError, match="return_std=True needs masks"):
            net.predict(X, return_std=True)


def test_the_unit_of_the_targets_does_not_matter():
    X, y = data(DropoutRegressor)
    mean, std = DropoutRegressor(**SMALL).fit(X, y).predict(X, return_std=True)
    scaled = DropoutRegressor(**SMALL).fit(X, 1000 * y + 5).predict(X, return_std=True)
    assert np.allclose(scaled[0], 1000 * mean + 5, rtol=1e-6)
    assert np.allclose(scaled[1], 1000 * std, rtol=1e-6)


def test_several_targets():
    X, y = make_regression(80, 6, n_targets=3, random_state=0)
    mean, std = DropoutRegressor(**SMALL).fit(X, y).predict(X, return_std=True)
    assert mean.shape == std.shape == (80, 3)
    column = DropoutRegressor(**SMALL).fit(X, y[:, :1]).predict(X)
    assert column.shape == (80, 1)
    assert (column[:, 0] == DropoutRegressor(**SMALL).fit(X, y[:, 0]).predict(X)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_max_norm_holds(kind):
    X, y = data(kind)
    for c in (0.2, None):
        module = kind(**SMALL, max_norm=c).fit(X, y).module_
        norms = [m.weight.norm(dim=1).max() for m in module if isinstance(m, nn.Linear)]
        assert (max(norms) <= 0.2) == (c is not None)


def test_rate_follows_a_schedule_of_updates():
    X, y = data(DropoutClassifier)
    net = DropoutClassifier(**SMALL, p=linear(0.0, 0.5, steps=20)).fit(X, y)
    last = 5 * math.ceil(80 / 64) - 1
    assert net.module_[3].p == pytest.approx(0.5 * last / 20, abs=2**-16)
    never = DropoutClassifier(**SMALL, p=late(0.5, start=1000)).fit(X, y)
    none = DropoutClassifier(**SMALL, p=0.0).fit(X, y)
    assert (never.predict_proba(X) == none.predict_proba(X)).all()


def test_the_best_epoch_on_held_out_rows_is_kept():
    X, y = data(DropoutClassifier)
    y = np.random.default_rng(0).permutation(y)  # nothing to learn, so that training overfits
    net = DropoutClassifier((64,), learning_rate=0.02, validation_fraction=0.25, random_state=0)
    net.fit(X, y)
    curve = net.validation_curve_
    assert min(curve) < curve[-1]
    generator = torch.Generator().manual_seed(net.seed_)
    net._make(6, 2, generator)
    held_out = torch.randperm(80, generator=generator)[:20]
    with torch.no_grad():
        loss = nn.functional.cross_entropy(
            net.module_(torch.tensor(X)[held_out]), torch.tensor(y)[held_out]
        )
    assert loss.item() == pytest.approx(min(curve), rel=1e-12)


def test_dropout_of_features_trains_what_theory_says():
    """Least squares under dropout of the features is ridge regression with a known penalty."""
    X, y = make_regression(400, 6, noise=20.0, random_state=0)
    X, y, p = X - X.mean(0), (y - y.mean()) / y.std(), 0.5
    gram = X.T @ X
    plain = np.linalg.solve(gram, X.T @ y)
    ridge = np.linalg.solve(gram + p / (1 - p) * np.diag(np.diag(gram)), X.T @ y)
    net = DropoutRegressor((), input_p=p, epochs=200, learning_rate=0.02, random_state=0).fit(X, y)
    found = net.module_[-1].weight.detach().numpy()[0]
    assert np.linalg.norm(found - ridge) < 0.1 * np.linalg.norm(found - plain)


@pytest.mark.parametrize(
    ("rows", "batch_size", "epochs"), [(80, 64, 1000), (80, 8, 300), (80, 1, 38), (400, 1, 20)]
)
def test_epochs_are_chosen_for_about_3000_updates(rows, batch_size, epochs):
    X, y = data(DropoutRegressor, rows)
    net = DropoutRegressor((), input_p=0.1, batch_size=batch_size, random_state=0).fit(X, y)
    assert len(net.loss_curve_) == epochs


def test_learning_rate_falls_to_zero(monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def watched(optimizer, *args, **kwargs):
        rates.extend(group["lr"] for group in optimizer.param_groups)
        return step(optimizer, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    X, y = data(DropoutRegressor)
    DropoutRegressor(**SMALL, batch_size=80, learning_rate=0.5).fit(X, y)
    assert rates[::2] == rates[1::2] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])


def test_weight_decay_shrinks_the_weights():
    X, y = data(DropoutRegressor)
    plain, decayed = (
        DropoutRegressor(**SMALL, learning_rate=0.1, weight_decay=w).fit(X, y).module_[1].weight
        for w in (0.0, 1.0)
    )
    assert decayed.norm() < 0.9 * plain.norm()


def test_in_a_pipeline_and_a_search():
    X, y = data(DropoutClassifier)
    labels = np.where(y, "yes", "no")
    pipeline = make_pipeline(StandardScaler(), DropoutClassifier(**SMALL))
    search = GridSearchCV(pipeline, {"dropoutclassifier__p": [0.1, 0.5]}, cv=2).fit(X, labels)
    assert set(search.predict(X)) <= {"yes", "no"}
    assert search.best_estimator_[-1].module_[3].p == pytest.approx(
        search.best_params_["dropoutclassifier__p"], abs=2**-16
    )


def test_says_when_no_prediction_depends_on_the_masks():
    X, y = data(DropoutRegressor)
    net = DropoutRegressor(**SMALL).fit(X, y)
    with torch.no_grad():
        net.module_[1].weight.zero_()
        net.module_[1].bias.fill_(-1.0)
    with pytest.warns(UserWarning, match="no unit is active"):
        mean, std = net.predict(X, return_std=True)
    assert (std == 0).all()
    assert np.allclose(mean, net.module_[-1].bias.item() * y.std() + y.mean())


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"p": 50}, ValueError, r"p must lie in \[0, 1\]"),
        ({"p": 1.0}, ValueError, "p must be below 1"),
        ({"input_p": -0.1}, ValueError, "input_p must lie in"),
        ({"max_norm": 0}, ValueError, "max_norm must be a finite number above 0"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be"),
        ({"epochs": 0}, ValueError, "must be integers, 1 or more"),
        ({"hidden_layer_sizes": (8, 0.5)}, ValueError, "must be integers, 1 or more"),
        ({"hidden_layer_sizes": 8}, TypeError, "a number for each layer"),
        ({"samples": 1}, ValueError, "samples must be an integer, 2 or more, or 0"),
        ({"samples": 10.0}, ValueError, "samples must be an integer"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction must lie in"),
        ({"validation_fraction": 0.999}, ValueError, "must leave rows to train on"),
        ({"learning_rate": 1e300}, ValueError, "training must converge, but its loss was"),
    ],
)
def test_says_what_is_wrong(parameters, error, message):
    X, y = data(DropoutRegressor)
    with pytest.raises(error, match=message):
        DropoutRegressor(**{**SMALL, **parameters}).fit(X, y)


def test_one_class_is_none():
    with pytest.raises(ValueError, match="2 classes or more, got one class"):
        DropoutClassifier(**SMALL).fit([[0.0], [1.0]], ["a", "a"])


@pytest.mark.parametrize("kind", KINDS)
def test_predicts_in_threads_and_leaves_the_global_generator_alone(kind):
    X, y = data(kind)
    net = kind(**SMALL).fit(X, y)
    expected, state = outputs(net, X), torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: outputs(net, rows), [X] * 16))
    assert all(np.array_equal(each, expected) for each in found)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in net.module_.modules())


@pytest.mark.parametrize("samples", [1, -2, 10.0])
def test_samples_set_after_training_are_checked(samples):
    X, y = data(DropoutRegressor)
    net = DropoutRegressor(**SMALL).fit(X, y).set_params(samples=samples)
    for options in ({}, {"return_std": True}):
        with pytest.raises(ValueError, match="samples must be an integer"):
            net.predict(X, **options)


def test_a_prediction_does_not_depend_on_the_rows_beside_it(monkeypatch):
    X, y = data(DropoutClassifier)
    net = DropoutClassifier(**SMALL, input_p=0.2).fit(X, y)
    whole = net.predict_proba(X)
    assert np.allclose(np.concatenate([net.predict_proba(X[:1]), net.predict_proba(X[1:])]), whole)
    monkeypatch.setattr("dropkit.adapters._estimator.TOGETHER", 1)
    assert np.allclose(net.predict_proba(X), whole)

"""What is tried before a study, and what that finds out for its reader."""

import numpy as np
import pytest
from torch import nn

from dropkit.study import StudyError, compare
from dropkit.study.config import Study
from dropkit.study.data import from_arrays, split
from dropkit.study.prepare import prepare_study

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3)).astype("float32")
STUDY = Study(data="arrays", hidden=(4,), methods=("none",), epochs=1)


def test_the_error_of_the_most_frequent_class() -> None:
    y = np.repeat([2, 0, 1], [30, 50, 20])
    data = from_arrays(X, y)
    parts = split(data, seed=0, val_fraction=0.2, test_fraction=0.2)
    wrong = np.mean(y[parts.test] != 0)
    info = prepare_study(STUDY, data, "mlp").info
    assert info.constant_value == pytest.approx(wrong)
    assert info.constant_train_value == pytest.approx(np.mean(y[parts.train] != 0))


def test_the_error_of_the_mean() -> None:
    y = 7 + 3 * RNG.normal(size=100)
    data = from_arrays(X, y, task="regression")
    parts = split(data, seed=0, val_fraction=0.2, test_fraction=0.2)
    off = y[parts.test] - y[parts.train].mean()
    expected = np.sqrt(np.mean(off**2))
    info = prepare_study(STUDY, data, "mlp").info
    assert info.constant_value == pytest.approx(expected, rel=1e-5)
    assert info.constant_train_value == pytest.approx(y[parts.train].std(), rel=1e-5)


def test_the_verdict_says_that_networks_learned_nothing() -> None:
    y = (X[:, 0] > -0.5).astype(int)
    results = compare(X, y, methods="none,l1", seeds=2, epochs=1, lr=1e-9, model=constant, jobs=1)
    said = str(results)
    assert said.startswith("No method beats a constant prediction: the test error of always")
    assert "The networks have not learned the training rows, either." in said


def constant(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    net = nn.Sequential(nn.Linear(*inputs, 4), nn.ReLU(), nn.Linear(4, outputs))
    nn.init.zeros_(net[2].weight)
    net[2].bias.data = net[2].bias.new_tensor([0.0, 1.0])
    return net


def test_a_network_in_place_of_a_function() -> None:
    with pytest.raises(StudyError, match=r"makes a new network at each call, got a Sequential"):
        compare(X, X[:, 0] > 0, model=nn.Sequential(nn.Linear(3, 2)))


def test_widths_of_one_layer() -> None:
    with pytest.raises(StudyError, match=r"hidden cannot be 8: give several values.*\[8\]"):
        compare(X, X[:, 0] > 0, hidden=8)

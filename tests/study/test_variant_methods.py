"""Noise layers are methods of a study by existing."""

import numpy as np
import pytest
from torch import nn

from dropkit import noise
from dropkit.noise import Dropout2d, RatedNoise
from dropkit.study import StudyError, compare
from dropkit.study.expression import parse
from dropkit.study.methods import METHODS, variants
from dropkit.study.models import cnn, regularized
from dropkit.study.recipe import Recipe

BASES = {"RatedNoise", "MultiplicativeNoise"}
ELSEWHERE = {"DropPath", "WordDropout", "Zoneout", "LockedDropout", "Dropout1d"}


def layers() -> set[str]:
    made = {name: getattr(noise, name) for name in noise.__all__}
    return {name for name, layer in made.items() if issubclass(layer, RatedNoise)} - BASES


def test_every_layer_that_can_stand_behind_any_other_is_a_method() -> None:
    wanted = layers() - ELSEWHERE
    assert len(wanted) >= 7
    found = {name.replace("-", "") for name in METHODS}
    assert {name.lower() for name in wanted} <= found
    assert not {name.lower() for name in ELSEWHERE | BASES} & found


def test_a_new_layer_is_a_method(monkeypatch: pytest.MonkeyPatch) -> None:
    class SaltAndPepper2d(Dropout2d):
        """Salt and pepper.

        Reference: Doe et al. (2001).
        """

    monkeypatch.setattr(noise, "SaltAndPepper2d", SaltAndPepper2d, raising=False)
    monkeypatch.setattr(noise, "__all__", ["SaltAndPepper2d"])
    (method,) = variants()
    assert method.name == "salt-and-pepper2d"
    assert (method.summary, method.source) == ("Salt and pepper.", "Doe et al. 2001")
    recipe = method.apply(Recipe(lr=0.1), p=0.3, input=0.0, lr=2.0, momentum=0.95)
    (made,) = (make() for make in recipe.hidden)
    assert isinstance(made, SaltAndPepper2d)
    assert made.p == 0.3
    assert not recipe.inputs


def test_the_layer_stands_where_the_network_marks_it() -> None:
    recipe = parse("drop-block2d(p=0.2)").recipe(Recipe(lr=0.05))
    network = regularized(cnn((1, 8, 8), 10), recipe)
    assert isinstance(network, nn.Sequential)
    assert isinstance(network[4], noise.DropBlock2d)
    assert network[4].p == 0.2


@pytest.mark.parametrize("name", ["alpha-dropout", "feature-alpha-dropout"])
def test_trains_on_rows(name: str) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(int)
    results = compare(
        rows, labels, methods=[name], seeds=2, epochs=1, hidden=(8,), jobs=1, batch_size=16
    )
    assert all(run.status == "finished" for run in results.runs)


def test_a_layer_that_does_not_fit_the_rows_is_refused_by_name() -> None:
    rows, labels = np.zeros((60, 5), np.float32), np.arange(60) % 2
    with pytest.raises(StudyError, match=r"dropout2d does not suit .* \(N, C, H, W\)"):
        compare(rows, labels, methods=["none", "dropout2d"], seeds=2, epochs=1, hidden=(8,))

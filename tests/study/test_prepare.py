"""A study is prepared once: one fold and two networks before the first training."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from dropkit import cli
from dropkit.study import Study, StudyError, compare
from dropkit.study.data import from_arrays
from dropkit.study.prepare import prepare_study
from dropkit.study.training import folds

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)
MODEL = """
from torch import nn

def make(inputs, outputs):
    with open("calls", "a") as file:
        print("called", file=file)
    return nn.Sequential(nn.Linear(*inputs, 8), nn.ReLU(), nn.Linear(8, outputs))
"""


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all folds that are made."""
    made: list[int] = []
    real = folds.make_fold

    def make_fold(data: object, study: object, seed: int) -> folds.Fold:
        made.append(seed)
        return real(data, study, seed)  # type: ignore[arg-type]

    folds.forget_fold()
    monkeypatch.setattr(folds, "make_fold", make_fold)
    return made


def test_from_python_a_fold_is_made_once_and_the_model_built_twice(seeds: list[int]) -> None:
    calls = []

    def make(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        calls.append(inputs)
        return nn.Sequential(nn.Linear(*inputs, 8), nn.ReLU(), nn.Linear(8, outputs))

    trainings = 4
    compare(X, Y, model=make, methods="none,dropout", seeds=2, epochs=1, jobs=1)
    assert seeds == [0, 1]
    assert len(calls) == 2 + trainings


def test_on_the_command_line_too(
    seeds: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(MODEL)
    np.savez("rows.npz", X=X, y=Y)
    words = "compare rows.npz --model net.py:make --methods none --seeds 1 --epochs 1 --jobs 1"
    assert cli.run(words.split()) == 0
    assert seeds == [0]
    assert len(Path("calls").read_text().splitlines()) == 2 + 1


def test_nothing_is_written_before_the_trainings(tmp_path: Path) -> None:
    study = Study(data="arrays", methods=("none",), hidden=(4,))
    prepared = prepare_study(study, from_arrays(X, Y), "mlp", tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert prepared.study.epochs == 100  # one batch each
    assert prepared.info.rows_train + prepared.info.rows_val + prepared.info.rows_test == 60


def test_a_model_that_changes_its_input_in_place_does_not_change_the_rows() -> None:
    class Doubles(nn.Linear):
        def forward(self, x):  # type: ignore[no-untyped-def]
            return super().forward(x.mul_(2))

    study, data = Study(data="arrays", methods=("none",)), from_arrays(X, Y)
    folds.forget_fold()
    before = folds.make_fold(data, study, 0).x_train
    prepare_study(study, data, lambda inputs, outputs: Doubles(*inputs, outputs))
    assert folds.load_fold(data, study, 0).x_train.equal(before)


def test_a_shared_network_is_refused() -> None:
    net = nn.Linear(4, 2)
    with pytest.raises(StudyError, match="a new network at every call"):
        prepare_study(Study(data="arrays"), from_arrays(X, Y), lambda inputs, outputs: net)


def prepared_methods(model: object, methods: tuple[str, ...], **settings: object) -> list[str]:
    study = Study(data="arrays", model="make", methods=methods, epochs=1, **settings)  # type: ignore[arg-type]
    return list(prepare_study(study, from_arrays(X, Y), model).study.method_names)  # type: ignore[arg-type]


def with_dropout(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(*inputs, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, outputs))


def without_dropout(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(*inputs, 8), nn.ReLU(), nn.Linear(8, outputs))


def test_a_model_with_dropout_of_its_own_is_compared_as_it_is_too() -> None:
    assert prepared_methods(with_dropout, ("none", "dropout")) == ["none", "dropout", "as-is"]
    assert prepared_methods(with_dropout, ("as-is", "none")) == ["as-is", "none"]
    assert prepared_methods(without_dropout, ("none", "dropout")) == ["none", "dropout"]


def test_a_method_of_larger_steps_is_compared_with_the_plain_net_at_these() -> None:
    found = prepared_methods(without_dropout, ("none", "paper-dropout"))
    assert found == ["none", "paper-dropout", "larger-steps"]
    asked = ("none", "paper-dropout(lr=4)", "dropout+larger-steps(momentum=0.99)")
    assert prepared_methods(without_dropout, asked)[3:] == [
        "larger-steps(lr=4,momentum=0.95)",
        "larger-steps(lr=2,momentum=0.99)",
    ]
    assert prepared_methods(without_dropout, ("none", "larger-steps")) == ["none", "larger-steps"]


def test_larger_steps_need_a_momentum() -> None:
    with pytest.raises(StudyError, match="only the optimizer sgd has"):
        prepared_methods(without_dropout, ("none", "paper-dropout"), optimizer="adamw")


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid()])
@pytest.mark.parametrize(("y", "why"), [(Y, "takes logits"), (X[:, 0], "only numbers from 0 to 1")])
def test_a_last_layer_that_squeezes_the_outputs_is_noticed(
    last: nn.Module, y: np.ndarray, why: str
) -> None:
    def make(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Linear(*inputs, 8), nn.Sigmoid(), nn.Linear(8, outputs), deepcopy(last)
        )

    def plain(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(*inputs, 8), nn.Sigmoid(), nn.Linear(8, outputs))

    study = Study(data="arrays", model="make", methods=("none",), epochs=1)
    data = from_arrays(X, y.astype(np.float64) if why.startswith("from") else y)
    (note,) = (n for n in prepare_study(study, data, make).info.notes if "ends in" in n)
    assert note.startswith(f"the model ends in {type(last).__name__}")
    assert why in note
    assert not any("ends in" in n for n in prepare_study(study, data, plain).info.notes)

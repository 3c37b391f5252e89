"""Networks: built-in, the user's file, the user's function; and what does not fit."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from dropkit import surgery
from dropkit.noise import Dropout
from dropkit.study import StudyError, compare
from dropkit.study.methods.parsing import parse
from dropkit.study.methods.recipe import Recipe, weights
from dropkit.study.training.insertion import regularize
from dropkit.study.training.models import (
    architecture,
    build,
    check_outputs,
    cnn,
    factory,
    fingerprint,
    mlp,
)


def recipe(method: str) -> Recipe:
    return parse(method).recipe(Recipe(lr=0.1))


def kinds(model: nn.Module) -> list[str]:
    return [type(m).__name__ for m in model.modules() if m is not model]


def test_the_articles_network() -> None:
    model = cnn((1, 28, 28), 10)
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim > 1] == [
        (64, 1, 3, 3),
        (32, 64, 3, 3),
        (32, 32, 3, 3),
        (10, 32 * 22 * 22),
    ]


@pytest.mark.parametrize("inputs", [(64,), (1, 6, 28)])
def test_cnn_needs_images(inputs: tuple[int, ...]) -> None:
    with pytest.raises(StudyError, match="images of at least 7x7"):
        cnn(inputs, 10)


def test_dropout_goes_after_every_hidden_activation() -> None:
    model = regularize(mlp((4,), 2, (3, 3)), recipe("dropout"))
    assert kinds(model) == [
        "Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert [m.p for m in model.modules() if isinstance(m, Dropout)] == [0.5, 0.5]


def test_own_dropout_marks_the_place_and_none_removes_it() -> None:
    dropped = regularize(cnn((1, 8, 8), 2), recipe("dropout(p=0.3)"))
    assert [m.p for m in dropped.modules() if isinstance(m, Dropout)] == [0.3]
    assert not any(isinstance(m, nn.Dropout) for m in dropped.modules())
    plain = regularize(cnn((1, 8, 8), 2), recipe("none"))
    assert not any("Dropout" in kind for kind in kinds(plain))


def test_the_same_seed_gives_the_same_weights_whatever_the_method() -> None:
    make = factory("mlp", (5,))
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    models = [
        regularize(build(make, torch.zeros(2, 4), 2, seed=3), recipe(m))
        for m in ("none", "dropout")
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    for first, second in zip(*(m.parameters() for m in models), strict=True):
        assert torch.equal(first, second)
    other = build(make, torch.zeros(2, 4), 2, seed=4)
    assert not torch.equal(next(models[0].parameters()), next(other.parameters()))


def test_penalties_leave_biases_and_norms_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    assert [tuple(w.shape) for w in weights(model)] == [(3, 4), (2, 3)]


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ("def make(): return nn.Linear(4, 3)", (2, 3)),
        ("def make(inputs): return nn.Linear(inputs[0], 5)", (2, 5)),
        ("def make(inputs, outputs): return nn.Linear(inputs[0], outputs)", (2, 7)),
        ("def make(inputs, outputs, width=9): return nn.Linear(inputs[0], outputs)", (2, 7)),
        ("class make(nn.Linear):\n    def __init__(self, i, o): super().__init__(i[0], o)", (2, 7)),
    ],
)
def test_a_users_file(tmp_path: Path, source: str, shape: tuple[int, int]) -> None:
    file = tmp_path / "net.py"
    file.write_text(f"from torch import nn\n{source}\n")
    model = build(factory(f"{file}:make", ()), torch.zeros(2, 4), 7, seed=0)
    assert model(torch.zeros(2, 4)).shape == shape


def test_a_users_file_may_import_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "dropkit_test_neighbour.py").write_text("WIDTH = 3\n")
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\nfrom dropkit_test_neighbour import WIDTH\n"
        "def make(): return nn.Linear(4, WIDTH)\n"
    )
    assert build(factory(f"{file}:make", ()), torch.zeros(2, 4), 3, seed=0)(
        torch.zeros(1, 4)
    ).shape == (1, 3)


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("def make(: pass", "make", "cannot run .*SyntaxError"),
        ("import no_such_package_here", "make", "cannot run .*ModuleNotFoundError"),
        ("def make(): pass", "mkae", "no function 'mkae': did you mean 'make'"),
        ("def make(): return 3", "make", "must return a torch.nn.Module, got int"),
        ("def make(): raise KeyError('width')", "make", "KeyError"),
        ("from torch import nn\ndef make(): return nn.ReLU()", "make", "no trainable parameters"),
    ],
)
def test_a_bad_file(tmp_path: Path, source: str, name: str, message: str) -> None:
    file = tmp_path / "net.py"
    file.write_text(source)
    with pytest.raises(StudyError, match=message):
        build(factory(f"{file}:{name}", ()), torch.zeros(2, 4), 3, seed=0)


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("")
    with pytest.raises(StudyError, match=r"no file .*did you mean .*net\.py"):
        factory(f"{tmp_path / 'nett.py'}:make", ())


def test_an_unknown_name() -> None:
    with pytest.raises(StudyError, match="did you mean 'mlp'"):
        factory("mpl", ())


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        (nn.Linear(4, 5), "classification", r"3 outputs per row .*got shape \(2, 5\)"),
        (nn.Linear(9, 3), "classification", "the model fails on rows of shape 4"),
        (nn.LSTM(4, 3), "classification", "got a tuple"),
        (nn.Linear(4, 5), "regression", r"got shape \(2, 5\)"),
    ],
)
def test_outputs_that_do_not_fit(model: nn.Module, task: str, message: str) -> None:
    outputs = 3 if task == "classification" else 1
    with pytest.raises(StudyError, match=message):
        check_outputs(model, torch.zeros(2, 4), outputs, task)
    assert model.training


def test_the_error_without_a_place_for_dropout_says_where_to_put_it() -> None:
    with pytest.raises(ValueError, match=r"an activation module .* where you want them$"):
        regularize(nn.Linear(4, 2), recipe("dropout"))


def test_another_network_is_another_study_though_its_source_is_the_same(tmp_path: Path) -> None:
    def make(width: int, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return mlp(inputs, outputs, (width,))

    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1, "out": tmp_path / "run"}
    first = compare(X, X[:, 0] > 0, model=partial(make, 3), **settings)
    assert compare(X, X[:, 0] > 0, model=partial(make, 3), **settings).runs == first.runs
    with pytest.raises(StudyError, match="another model"):
        compare(X, X[:, 0] > 0, model=partial(make, 5), **settings)


def test_what_tells_networks_apart() -> None:
    class Named(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.scale, self.factor = nn.Parameter(torch.ones(size)), 1.0
            self.act = nn.Identity()
            self.act.extra_repr = lambda: f"{object()}"  # type: ignore[method-assign]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.factor * x

    rows = torch.ones(2, 4)
    kinds = [Named(2), Named(3), Named(2), nn.Dropout(0.1), nn.Dropout(0.2), nn.Linear(4, 3)]
    kinds[2].factor = 2.0  # type: ignore[assignment]
    wide = nn.Linear(4, 3)
    wide.weight.data = 2 * kinds[-1].weight.data  # type: ignore[union-attr,operator]
    digests = [architecture(kind, rows) for kind in (*kinds, wide)]
    assert len(set(digests)) == len(digests)
    assert architecture(Named(2), rows) == digests[0]
    assert architecture(nn.Linear(5, 3), rows)  # which fails on these rows


def test_lazy_layers_are_built_before_their_weights_are_decayed() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d(), nn.Dropout(1.0))

    state = torch.random.get_rng_state()
    model = build(factory(make, ()), torch.zeros(2, 4), 3, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [parameter.ndim for parameter in weights(model)] == [2]
    assert model.training
    assert not model[1].running_mean.any()  # type: ignore[index,operator,union-attr]
    assert torch.equal(
        model[0].weight, build(factory(make, ()), torch.zeros(2, 4), 3, seed=0)[0].weight
    )  # type: ignore[index]


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("a = 1")
    before = fingerprint(f"{file}:make")
    file.write_text("a = 2")
    assert fingerprint(f"{file}:make") != before


def test_dropout_between_an_lstms_layers_is_removed_by_all_but_as_is() -> None:
    def net() -> nn.Sequential:
        return nn.Sequential(nn.LSTM(4, 4, 2, dropout=0.7), nn.Dropout(0.3))

    for method, found in {
        "none": {"0.dropout": 0.0},
        "dropout": {"0.dropout": 0.0, "1": 0.5},
        "as-is": {"0.dropout": 0.7, "1": 0.3},
        "as-is+max-norm": {"0.dropout": 0.7, "1": 0.3},
    }.items():
        assert surgery.rates(regularize(net(), recipe(method))) == found, method
    with pytest.raises(StudyError, match="as-is keeps the model's own dropout"):
        regularize(net(), recipe("as-is+dropout"))

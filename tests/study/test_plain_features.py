"""Studies whose features stay as they are: words, sequences, whatever a network takes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dropkit.cli import run
from dropkit.study import Study, StudyError, compare
from dropkit.study.data import Data, DataError, Preprocessor, from_arrays, load
from dropkit.study.prepare import command
from dropkit.study.training.folds import load_fold, make_fold

RNG = np.random.default_rng(0)
WORDS = RNG.integers(1, 12, (200, 6))
HAS_THREE = (WORDS == 3).any(1)
NET = """
from torch import nn


class Net(nn.Module):
    def __init__(self, words, outputs):
        super().__init__()
        self.embedding = nn.Embedding(words, 16)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(16, outputs)

    def forward(self, ids):
        return self.head(self.drop(self.embedding(ids).amax(1)))


def make(inputs, outputs):
    return Net(12, outputs)


def small(inputs, outputs):
    return Net(11, outputs)
"""


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:make"


@pytest.mark.parametrize(
    "X",
    [
        WORDS,
        WORDS.astype(np.int32),
        WORDS.astype(np.uint8),
        WORDS % 2 == 0,
        RNG.normal(5, 3, (200, 4, 2)),
        RNG.normal(5, 3, (200, 6, 5, 3)),  # which would pass for images, channels last
        RNG.normal(5, 3, (200, 2, 3, 2, 2)).astype(np.float16),
    ],
)
def test_rows_reach_the_network_as_they_are(X: np.ndarray) -> None:
    data = from_arrays(X, HAS_THREE, X_test=X, y_test=HAS_THREE, preprocess=False)
    fold = make_fold(data, Study(data="arrays", preprocess=False), 0)
    kind = {"u": torch.uint8, "i": torch.int64}.get(X.dtype.kind, torch.float32)
    assert {fold.x_train.dtype, fold.x_val.dtype, fold.x_test.dtype} == {kind}
    assert torch.equal(fold.x_test, torch.as_tensor(X).to(kind))
    rows = torch.cat([fold.x_train, fold.x_val]).flatten(1).tolist()
    assert sorted(rows) == sorted(torch.as_tensor(X).to(kind).flatten(1).tolist())


def test_a_numeric_target_is_standardized_all_the_same() -> None:
    y = RNG.normal(50, 9, 200)
    fold = make_fold(
        from_arrays(WORDS, y, preprocess=False), Study(data="arrays", preprocess=False), 0
    )
    assert abs(fold.y_train.mean()) < 1e-5
    assert fold.scale == pytest.approx(9, rel=0.3)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.where(WORDS == 3, np.nan, WORDS), "NaN, infinite or beyond float32 in row"),
        (np.where(WORDS == 3, 1e40, WORDS), "beyond float32"),
        (WORDS[:, 0], r"X has shape \(200,\)"),
        (WORDS.astype(str), "X must hold numbers"),
        (pd.DataFrame({"a": WORDS[:, 0], "b": "x"}), "must hold numbers, got 'b' with 'x'"),
        (pd.DataFrame({"a": [1.0, None] * 100}), "the table is NaN"),
        (pd.DataFrame({"a": pd.array([1, None] * 100, "Int64")}), "the table is NaN"),
    ],
)
def test_what_cannot_stay_as_it_is(X: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X, HAS_THREE, preprocess=False)


def test_a_table_of_whole_numbers_stays_whole(tmp_path: Path) -> None:
    table = pd.DataFrame(WORDS).assign(padding=0, y=HAS_THREE)
    table.iloc[:150].to_csv(tmp_path / "train.csv", index=False)
    table.iloc[150:, ::-1].to_csv(tmp_path / "test.csv", index=False)
    data = load(tmp_path / "train.csv", target="y", test=tmp_path / "test.csv", preprocess=False)
    padded = np.pad(WORDS, ((0, 0), (0, 1)))
    assert data.X.dtype == data.X_test.dtype == np.int64
    assert np.array_equal(data.X, padded[:150])
    assert np.array_equal(data.X_test, padded[150:])
    assert from_arrays(table / 2, HAS_THREE, preprocess=False).X.dtype == np.float64
    table.iloc[150:].drop(columns=3).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="the test set has no column '3'"):
        load(tmp_path / "train.csv", target="y", test=tmp_path / "test.csv", preprocess=False)


def test_categories_need_preprocessing() -> None:
    frame = pd.DataFrame({"base": ["A", "C"] * 100})
    with pytest.raises(DataError, match="such as 'base' may hold text"):
        Preprocessor(features=False).fit(frame, HAS_THREE.astype(int))


def test_words_are_learned_and_the_kept_study_repeats(net: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = {"methods": "none,dropout(p=0.1,input=0)", "seeds": 2, "epochs": 30, "lr": 0.5}
    results = compare(WORDS, HAS_THREE, model=net, preprocess=False, out=out, jobs=1, **settings)
    error = {method: results.of(method)[0].test.value for method in results.methods}  # type: ignore[union-attr]
    assert max(error.values()) < 0.1
    assert min(HAS_THREE.mean(), 1 - HAS_THREE.mean()) > 0.3
    assert run(["compare", str(out / "study.toml"), "--out", str(tmp_path / "again")]) == 0
    again = compare(str(out / "data.npz"), model=net, preprocess=False, jobs=1, **settings)
    assert [r.curve for r in again.runs] == [r.curve for r in results.runs]


def test_what_does_not_suit_whole_numbers(net: str) -> None:
    settings = {"seeds": 1, "epochs": 1, "preprocess": False, "jobs": 1}
    with pytest.raises(StudyError, match=r"cannot be dropped or made noisy; .* input=0"):
        compare(WORDS, HAS_THREE, model=net, methods="none,dropout", **settings)
    with pytest.raises(StudyError, match="'mlp' needs features that are not integers"):
        compare(WORDS, HAS_THREE, methods="none", **settings)
    small, rare = net.replace(":make", ":small"), np.minimum(WORDS, 10)
    rare[-1, 0] = 11
    with pytest.raises(StudyError, match=r"fails on rows of shape 6 .*index out of range"):
        compare(rare, HAS_THREE, model=small, methods="none", **settings)
    words = Data("words", WORDS, HAS_THREE.astype(int), "classification", ("no", "yes"), "y")
    with pytest.raises(DataError, match="use --no-preprocess"):
        make_fold(words, Study(data="words"), 0)


def test_sequences_of_measurements() -> None:
    X = RNG.normal(100, 5, (90, 7, 2)).astype(np.float32)

    class Recurrent(nn.Module):
        def __init__(self, outputs: int) -> None:
            super().__init__()
            self.gru = nn.GRU(2, 4, batch_first=True)
            self.drop = nn.Dropout()
            self.head = nn.LazyLinear(outputs)

        def forward(self, x: Tensor) -> Tensor:
            assert x.min() > 50
            return self.head(self.drop(self.gru(x)[0][:, -1]))  # type: ignore[no-any-return]

    results = compare(
        X,
        X[:, -1, 0] > 100,
        model=lambda inputs, outputs: Recurrent(outputs),
        methods="none,dropout(input=0)",
        seeds=1,
        epochs=1,
        preprocess=False,
        jobs=1,
    )
    assert [each.method for each in results.runs] == ["none", "dropout(input=0)", "as-is"]
    assert {each.status for each in results.runs} == {"finished"}
    assert results.data.inputs == (7, 2)


def test_a_fold_is_not_taken_for_that_of_the_other_kind() -> None:
    data = from_arrays(WORDS.astype(float), HAS_THREE)
    plain = load_fold(data, Study(data="arrays", preprocess=False), 0).x_train
    assert not torch.equal(load_fold(data, Study(data="arrays"), 0).x_train, plain)


def test_it_is_part_of_what_a_study_is() -> None:
    study = Study(data="digits", preprocess=False)
    assert study.digest() != Study(data="digits").digest()
    assert "preprocess" not in Study(data="digits").identity()  # as in older run folders
    assert command(study) == "dropkit compare digits --no-preprocess"

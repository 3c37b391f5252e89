"""Several inputs by name, and sequences of unequal length, from Python and from archives."""

from collections import UserDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from dropkit.study import Study, inspect
from dropkit.study.data import DataError, Preprocessor, from_arrays, load
from dropkit.study.data._repeats import add_repeat_doubts
from dropkit.study.inputs import Inputs, Sequences
from dropkit.study.rows import row_settings, save_rows
from dropkit.study.training.folds import make_fold

RNG = np.random.default_rng(0)
COUNT = 40
IMAGE = RNG.integers(0, 256, (COUNT, 4, 4), np.uint8)
TABLE = RNG.normal(5, 3, (COUNT, 3))
LENGTHS = RNG.integers(1, 8, COUNT)
WORDS = [RNG.integers(1, 30, n) for n in LENGTHS]
FLAT = np.concatenate(WORDS)
PADDED = np.array([[*row, *[0] * (9 - len(row))] for row in WORDS])
MASK = PADDED > 0
SERIES = [RNG.normal(2, 3, (n, 2)) for n in LENGTHS]
Y = np.arange(COUNT) % 2


def part(X: Any, name: str = "X") -> Any:
    assert isinstance(X, Inputs)
    return X.parts[name]


def test_each_array_is_read_as_it_is_alone_and_whole_numbers_stay() -> None:
    kind, tick, age = RNG.integers(0, 3, COUNT), TABLE > 5, RNG.normal(size=COUNT)
    given = {"image": IMAGE, "table": TABLE, "kind": kind, "tick": tick, "age": age}
    data = from_arrays(given, Y)
    assert data.X.shape == {
        "image": (1, 4, 4),
        "table": (3,),
        "kind": (),
        "tick": (3,),
        "age": (1,),
    }
    assert data.notes == (
        "kind of X holds whole numbers, which are not changed, for an embedding; save "
        "measurements as floats",
    )
    fold = make_fold(data, Study(data="arrays"), 0)
    kinds = {name: values.dtype for name, values in fold.x_train.items()}
    floats = dict.fromkeys(("image", "table", "age"), torch.float32)
    assert kinds == floats | {"kind": torch.int64, "tick": torch.bool}
    assert fold.x_train.parts["image"].max() <= 1
    assert fold.x_train.parts["table"].mean(0).abs().max() < 1e-5
    plain = make_fold(
        from_arrays(given, Y, preprocess=False), Study(data="arrays", preprocess=False), 0
    )
    assert plain.x_test.shape["age"] == ()
    assert plain.x_test.parts["image"].dtype == torch.uint8
    assert set(plain.x_test.parts["table"].flatten().tolist()) <= set(
        TABLE.astype(np.float32).flatten().tolist()
    )


def test_parts_hold_the_same_rows_of_every_input() -> None:
    row = np.arange(COUNT)
    data = from_arrays({"a": row, "b": [[i] * (1 + i % 3) for i in row], "c": TABLE}, row % 2)
    fold = make_fold(data, Study(data="arrays"), 3)
    seen = []
    for rows, y in (
        (fold.x_train, fold.y_train),
        (fold.x_val, fold.y_val),
        (fold.x_test, fold.y_test),
    ):
        assert torch.equal(rows.parts["a"] % 2, y)
        assert torch.equal(rows.padded().parts["b"][:, 0], rows.parts["a"])
        seen += rows.parts["a"].tolist()
    assert sorted(seen) == row.tolist()


def test_one_array_in_a_dict_is_read_as_alone() -> None:
    alone, named = from_arrays(TABLE, Y), from_arrays({"table": TABLE}, Y)
    assert named.fingerprint == alone.fingerprint


@pytest.mark.parametrize(
    "X",
    [
        WORDS,
        [torch.as_tensor(row) for row in WORDS],
        [row.tolist() for row in WORDS],
        tuple(WORDS),
        np.array([*WORDS, None], dtype=object)[:-1],
        {"ids": WORDS},
        {"ids": FLAT, "lengths": LENGTHS},
        {"ids": FLAT, "ids_lengths": LENGTHS},
        {"ids": PADDED, "lengths": LENGTHS},
        {"ids": PADDED, "mask": MASK},
        {"ids": PADDED.astype(np.uint16), "ids_mask": MASK.astype(int)},
        UserDict({"ids": PADDED, "mask": torch.as_tensor(MASK)}),
    ],
)
@pytest.mark.parametrize("preprocess", [True, False])
def test_all_ways_to_give_sequences_are_one(X: Any, preprocess: bool) -> None:
    data = from_arrays(X, Y, preprocess=preprocess)
    assert data.fingerprint == from_arrays(WORDS, Y, preprocess=preprocess).fingerprint
    (found,) = data.X.parts.values()
    assert [row.tolist() for row in found] == [row.tolist() for row in WORDS]
    assert found.longest == LENGTHS.max()
    assert "sequences of 1 to 7 steps" in data.notes[0]


def test_nested_tensors_are_sequences() -> None:
    nested = torch.nested.nested_tensor(
        [torch.as_tensor(row) for row in SERIES], layout=torch.jagged
    )
    assert from_arrays(nested, Y).fingerprint == from_arrays(SERIES, Y).fingerprint


def test_sequences_are_standardized_by_the_steps_of_training_rows() -> None:
    series = [np.where(row == row.max(), np.nan, row) for row in SERIES]
    data = from_arrays(series, Y)
    X = data.X
    chosen = np.arange(COUNT) % 4 != 0
    preprocessor = Preprocessor().fit(X[chosen], data.y[chosen])
    known = part(preprocessor.transform(X[chosen]))
    assert known.steps.dtype == np.float32
    assert known.steps.shape[1] == 4  # one more for each with gaps
    assert np.abs(known.steps[:, :2].mean(0)).max() < 1e-4
    others = replace(part(X[~chosen]), steps=part(X).steps * 100)
    changed = Preprocessor().fit(X[chosen], data.y[chosen]).transform(Inputs({"X": others}))
    assert part(changed).lengths.tolist() == LENGTHS[~chosen].tolist()
    alone = [row[:, :1].tolist() for row in SERIES]
    assert from_arrays(alone, Y).X.shape == from_arrays([row[:, 0] for row in SERIES], Y).X.shape


def test_a_test_set_of_equally_long_sequences_is_one_of_sequences() -> None:
    data = from_arrays(WORDS, Y, X_test=[np.arange(1, 13), np.arange(2, 14)], y_test=[0, 1])
    assert data.X.shape == data.X_test.shape == {"X": (12,)}
    data = from_arrays(SERIES, Y, X_test=np.ones((2, 3, 2)), y_test=[0, 1])
    assert data.X_test.shape == {"X": (7, 2)}
    both = {"w": WORDS, "t": TABLE}
    data = from_arrays(both, Y, X_test={"t": TABLE[:2], "w": [[1, 2], [3, 4]]}, y_test=[0, 1])
    assert list(data.X_test.parts) == ["w", "t"]


class Pairs(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, i: int) -> Any:
        return self.pairs[i]


def test_torch_data_sets_of_dicts_and_of_sequences() -> None:
    pairs = Pairs([({"t": t, "w": w}, y) for t, w, y in zip(TABLE, WORDS, Y, strict=True)])
    assert from_arrays(pairs).fingerprint == from_arrays({"t": TABLE, "w": WORDS}, Y).fingerprint
    rows = Pairs(list(zip(SERIES, Y, strict=True)))
    assert from_arrays(rows).fingerprint == from_arrays(SERIES, Y).fingerprint


BOTH = {"image": IMAGE, "table": TABLE}


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({"image": IMAGE, "table": TABLE[:-1]}, "table of X has 39 rows and image 40; every input"),
        ({"image": IMAGE, "words": FLAT}, "give words_lengths"),
        ({}, "holds no array"),
        ({1: TABLE}, "names for keys, got 1"),
        ({"a b": TABLE, "c": TABLE}, "'a b' of X cannot name a parameter"),
        ({"X": TABLE, "c": TABLE}, "cannot be called 'X'"),
        ({"c_test": TABLE, "c": TABLE}, "cannot be called 'c_test'"),
        ({"c": pd.DataFrame(TABLE), "t": TABLE}, "c of X is a DataFrame"),
        ({"c": TABLE.astype(str), "t": TABLE}, "c of X must hold numbers, got an array of <U"),
        ({"c": np.where(TABLE > 9, np.inf, TABLE), "t": TABLE}, "c of X is infinite in row"),
        ({"c": TABLE[:0], "t": TABLE}, r"c of X has shape \(0, 3\)"),
        ([*WORDS[1:], []], "X has no steps in row 40; leave"),
        ([[], *WORDS[2:], []], "no steps in row 1 and 1 more"),
        ([*SERIES[1:], np.ones((2, 3))], r"row 40 of X has shape \(2, 3\), and the first"),
        ([["a"], ["b", "c"]], "X must hold numbers.*whole numbers, for an embedding"),
        ([*SERIES[1:], [[1, 2], [3, np.inf]]], "X is infinite in row 40, step 2"),
        ({"w": FLAT, "lengths": LENGTHS[1:]}, "fits neither the .* steps .* nor 39 rows"),
        ({"w": FLAT, "lengths": LENGTHS / 1}, "must be one whole number per row, got float64"),
        ({"w": PADDED, "lengths": LENGTHS * 0}, "no steps in row 1 and 39 more"),
        (
            {"w": PADDED, "mask": MASK[:, 1:]},
            r"the mask of w of X must be true .* \(40, 9\); got bool",
        ),
        (
            {"w": PADDED, "mask": MASK[:, ::-1]},
            "steps behind padding in row 1; pad .* at their end",
        ),
        ({"w": WORDS, "lengths": LENGTHS}, "lengths of w of X are given twice"),
        ({"w": PADDED, "lengths": LENGTHS, "mask": MASK}, "given twice"),
    ],
)
def test_bad_inputs(X: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X, Y)


def test_missing_steps_need_preprocessing() -> None:
    with pytest.raises(DataError, match="NaN or infinite in row 40, step 2; steps must be finite"):
        from_arrays([*SERIES[1:], [[1, 2], [3, np.nan]]], Y, preprocess=False)


@pytest.mark.parametrize(
    ("X", "X_test", "message"),
    [
        (BOTH, TABLE, "X holds image and table and X_test one array"),
        (TABLE, BOTH, "X holds one array and X_test image and table"),
        (BOTH, {"image": IMAGE, "tabel": TABLE}, "X_test image and tabel; give arrays of the same"),
        (BOTH, {"image": IMAGE, "table": TABLE[:, 1:]}, r"table of X_test has shape \(2,\)"),
        ({"s": SERIES, "t": TABLE}, {"s": [r[:, :1] for r in SERIES], "t": TABLE}, r"s of X_test"),
        ({"s": TABLE, "t": TABLE}, {"s": SERIES, "t": TABLE}, "s holds sequences in one of X and"),
    ],
)
def test_bad_test_inputs(X: Any, X_test: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_arrays(X, Y, X_test=X_test, y_test=Y)


@pytest.mark.parametrize(
    "X",
    [
        WORDS,
        SERIES,
        {"x": WORDS},
        {"ids": WORDS},
        BOTH,
        {"x": TABLE, "y_": WORDS, "lengths": LENGTHS},
        {"tokens": WORDS, "series": SERIES, "kind": Y, "tick": MASK},
    ],
)
def test_rows_that_are_kept_are_read_back(tmp_path: Path, X: Any) -> None:
    few = {name: values[:9] for name, values in X.items()} if isinstance(X, dict) else X[:9]
    data = from_arrays(X, Y, X_test=few, y_test=Y[:9])
    save_rows(data, tmp_path)
    again = load(row_settings(data, tmp_path)["data"])
    assert again.fingerprint == data.fingerprint
    assert again.X.shape == data.X.shape or len(data.X.parts) == 1


def test_what_fingerprints_tell_apart() -> None:
    swapped = {"table": TABLE, "image": IMAGE}
    every = [BOTH, swapped, {"image": IMAGE, "t": TABLE}, WORDS, [*WORDS[1:], WORDS[0]]]
    every += [[[1, 2], [3]] * 20, [[1], [2, 3]] * 20]  # the same steps
    assert len({from_arrays(X, Y).fingerprint for X in every}) == len(every)


def test_equal_rows_are_counted() -> None:
    series = [*SERIES[:30], *SERIES[:10]]
    data = from_arrays({"s": series, "t": [*TABLE[:30], *TABLE[:10]]}, [0, 1] * 15 + [0, 1] * 5)
    assert data.repeated == 20
    other = from_arrays({"s": series, "t": TABLE}, [0, 1] * 20)
    assert other.repeated == 0
    assert add_repeat_doubts(other).repeated == 0


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def to_file(name: str = "rows.npz", **arrays: Any) -> Path:
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return to_file


def test_an_archive_of_several_inputs(save: Any) -> None:
    arrays = {
        "image": IMAGE,
        "words": FLAT,
        "words_lengths": LENGTHS,
        "names": np.array(["a", "b"]),
    }
    data = load(save(**arrays, y=Y))
    assert data.notes[-1] == "left out the arrays names"
    expected = from_arrays({"image": IMAGE, "words": WORDS}, Y)
    assert data.fingerprint == expected.fingerprint
    held_out = {
        "image": IMAGE[:2],
        "words": FLAT[: LENGTHS[:2].sum()],
        "words_lengths": LENGTHS[:2],
    }
    with_test = expected = from_arrays(
        {"image": IMAGE, "words": WORDS},
        Y,
        X_test={"image": IMAGE[:2], "words": WORDS[:2]},
        y_test=Y[:2],
    )
    inside = {f"{name}_test": array for name, array in held_out.items()}
    data = load(save(**arrays, y=Y, **inside, y_test=Y[:2]))
    assert data.fingerprint == with_test.fingerprint
    data = load(save(**arrays, y=Y), test=save("test.npz", **held_out, y=Y[:2]))
    assert data.fingerprint == with_test.fingerprint


def test_x_is_one_of_several_inputs_and_capital_x_the_only_one(save: Any) -> None:
    assert load(save(x=TABLE, image=IMAGE, y=Y)).X.shape == {"x": (3,), "image": (1, 4, 4)}
    data = load(save(X=TABLE, image=IMAGE, y=Y))
    assert data.X.shape == (COUNT, 3)
    assert data.notes == ("left out the arrays image",)
    assert load(save(x=TABLE, x_dev=TABLE[:2], y=Y)).X.shape == (COUNT, 3)
    assert load(save(x=TABLE, x_val=TABLE[:2], y=Y, y_val=Y[:2])).X.shape == (COUNT + 2, 3)
    few = {"x_test": TABLE[:2], "y_test": Y[:2]}
    assert load(save(X=TABLE, y=Y, ids=Y, **few)).X_test.shape == (2, 3)
    assert load(save(x=TABLE, y=Y, **few)).X_test.shape == (2, 3)


@pytest.mark.parametrize("x", ["X", "x", "words"])
@pytest.mark.parametrize("end", ["lengths", "{}_lengths"])
def test_an_archive_of_sequences(save: Any, x: str, end: str) -> None:
    expected = from_arrays(WORDS, Y).fingerprint
    assert load(save(**{x: FLAT, end.format(x): LENGTHS}, y=Y)).fingerprint == expected
    assert load(save(**{x: PADDED, end.format(x): LENGTHS}, y=Y)).fingerprint == expected
    few = {f"{x}_test": PADDED[:3], f"{end.format(x)}_test": LENGTHS[:3], "y_test": Y[:3]}
    data = load(save(**{x: FLAT, end.format(x): LENGTHS}, y=Y, **few))
    assert len(data.X_test) == 3


def test_objects_in_an_archive_are_refused_with_the_safe_form(save: Any) -> None:
    objects = np.array([*WORDS, None], dtype=object)[:-1]
    for name in ("X", "words"):
        with pytest.raises(
            DataError, match=r"of sequences .* one after the other as X, and .* lengths"
        ):
            load(save(**{name: objects}, y=Y))
    data = load(save(X=TABLE, y=Y, meta=objects))
    assert data.notes == ("left out the arrays meta",)


def span(values: np.ndarray) -> str:
    return f"{values.min():g} to {values.max():g}"


def test_inspection_says_what_each_input_holds() -> None:
    found = inspect({**BOTH, "words": WORDS, "series": SERIES, "tick": MASK}, Y)
    assert found.summary[:6] == (
        "data: 40 rows, 5 inputs; classification of y",
        f"image: rows of shape 1x4x4, whole numbers from {span(IMAGE)}; divided by 255",
        f"table: rows of shape 3, numbers from {span(TABLE)}; standardized",
        f"words: sequences of 1 to 7 steps, whole numbers from {span(FLAT)}; as they are",
        "series: sequences of 1 to 7 steps of shape 2, numbers from "
        f"{span(np.concatenate(SERIES))}; standardized",
        "tick: rows of shape 9, true or false; as they are",
    )
    lone = inspect(WORDS, Y, preprocess=False)
    assert lone.summary[0] == "data: 40 rows, rows of shape 7; classification of y"
    assert lone.summary[1].startswith("X: sequences of 1 to 7 steps, whole numbers")


def test_sequences_are_a_plain_value() -> None:
    assert isinstance(part(from_arrays(WORDS, Y).X), Sequences)

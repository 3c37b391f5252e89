"""Several columns to predict: which task they are, how they are read, divided and kept."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropkit.study.data import DataError, Preprocessor, from_arrays, load, split
from dropkit.study.data._targets import encode_columns, encode_columns_like
from dropkit.study.rows import row_settings, save_rows

COUNT = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(COUNT, 3))
HELD = RNG.integers(0, 2, (COUNT, 3))
NUMBERS = RNG.normal(size=(COUNT, 2)) * [1, 100]
ONE_HOT = np.eye(3, dtype=int)[RNG.integers(0, 3, COUNT)]


def table(y, names="abc"):
    frame = pd.DataFrame(X, columns=["p", "q", "r"])
    return frame.assign(**{name: y[:, i] for i, name in enumerate(names[: y.shape[1]])})


@pytest.mark.parametrize(
    "words", [(0, 1), ("no", "yes"), ("False", "TRUE"), (False, True), (0.0, 1.0), ("0", "1")]
)
def test_labels_are_read_in_the_words_for_true_and_false(words):
    frame = pd.DataFrame({name: [words[i] for i in HELD[:, k]] for k, name in enumerate("abc")})
    target = encode_columns(frame)
    assert (target.task, target.names, target.name) == ("multi-label", ("a", "b", "c"), "a, b, c")
    np.testing.assert_array_equal(target.y, HELD)
    found, notes = encode_columns_like(frame[:5], target)
    np.testing.assert_array_equal(found, HELD[:5])
    assert notes == ()


def test_numbers_are_read_in_their_notations():
    euros = [f"{v:,.2f} €" for v in NUMBERS[:, 1]]
    target = encode_columns(pd.DataFrame({"a": NUMBERS[:, 0], "b": euros}))
    assert (target.task, target.names) == ("multi-output", ("a", "b"))
    np.testing.assert_allclose(target.y, NUMBERS, atol=0.005)
    found, _ = encode_columns_like(pd.DataFrame({"b": ["12.50 €"], "a": [3]}), target)
    assert found.tolist() == [[3.0, 12.5]]


@pytest.mark.parametrize("task", ["regression", "multi-output"])
def test_labels_are_numbers_if_the_user_says_so(task):
    target = encode_columns(pd.DataFrame(HELD), task)
    assert target.task == "multi-output"
    np.testing.assert_array_equal(target.y, HELD.astype(float))


def test_integers_that_may_be_classes_are_noted():
    frame = pd.DataFrame({"a": [1, 2] * 40, "b": np.arange(80) / 2, "c": [0, 1, 2, 3] * 20})
    (note,) = encode_columns(frame).notes
    assert note.startswith("the few integers of a, c are taken as numbers")
    assert encode_columns(frame, "multi-output").notes == ()
    assert encode_columns(frame[["b"]].assign(d=frame.b + 0.1)).notes == ()


def test_one_hot_rows_are_what_the_user_says():
    frame = table(ONE_HOT)[list("abc")]
    with pytest.raises(DataError, match=r"exactly one 1 in every row: ask for --task class.*label"):
        encode_columns(frame)
    classes = encode_columns(frame, "classification")
    assert (classes.task, classes.classes, classes.names) == ("classification", tuple("abc"), ())
    np.testing.assert_array_equal(classes.y, ONE_HOT.argmax(1))
    np.testing.assert_array_equal(encode_columns_like(frame, classes)[0], ONE_HOT.argmax(1))
    labels = encode_columns(frame, "multi-label")
    np.testing.assert_array_equal(labels.y, ONE_HOT)


@pytest.mark.parametrize(
    ("columns", "task", "message"),
    [
        ({"a": [0, 1], "b": [0.5, 2]}, None, "'a' holds labels and 'b' does not.*multi-output$"),
        ({"a": ["y", "n"], "b": [0.5, 2]}, None, "labels or numbers: leave one kind out$"),
        (
            {"a": ["red", "blue"], "b": [0.5, 2]},
            None,
            "target 'a' must be numbers.*leave this target",
        ),
        ({"a": [0, 1], "b": [0.5, 2]}, "multi-label", "targets of a multi-label must.*'b' does"),
        ({"a": [0, 1], "b": [1, 1]}, "classification", "'b' is '1' in every row"),
        ({"a": [0, 1, 1], "b": [1, 1, 0]}, "classification", "row 2 has 2 of 2"),
        ({"a": [0, 1], "b": [0, None]}, None, "'b' is missing or NaN in 1 of 2 rows"),
        ({"a": ["no", "yes"], "b": ["yes", ""]}, None, "'b' is missing or NaN in 1 of 2 rows"),
        ({"a": [1.5, 2], "b": [1, np.inf]}, None, "'b' is infinite in 1 of 2 rows"),
        ({"a": [1.5, 2], "b": [3, 3]}, None, "'b' has one value"),
        ({"a": [1, 0], "b": [1, 0]}, "clustering", "task must be one of classification, regr"),
        ({"a": [0.5, 2.0]}, "multi-label", "'a' cannot be read as labels"),
    ],
)
def test_unreadable_targets_raise_an_error_with_the_fix(columns, task, message):
    with pytest.raises(DataError, match=message):
        encode_columns(pd.DataFrame(columns), task)


def test_a_test_set_must_hold_the_same_words():
    target = encode_columns(pd.DataFrame({"a": ["no", "yes", "no"], "b": [0, 1, 1]}))
    with pytest.raises(
        DataError, match=r"'a \(test set\)' must hold 'yes' or 'no'.*'maybe' in row 2"
    ):
        encode_columns_like(pd.DataFrame({"a": ["no", "maybe"], "b": [0, 1]}), target)


@pytest.mark.parametrize("told", [{"task": "multi-label"}, {"read": {"tags": "list"}}])
def test_lists_are_labels(told):
    tags = ["red|blue", "blue", "", "red", "red|blue|rare"] * 8
    tags[5:] = [tag.removesuffix("|rare") for tag in tags[5:]]
    data = from_arrays(pd.DataFrame(X).assign(tags=tags), "tags", **told)
    assert (data.task, data.targets, data.target) == ("multi-label", ("blue", "red"), "tags")
    assert data.y[:4].tolist() == [[1, 1], [1, 0], [0, 0], [0, 1]]
    assert any("or every row has were left out: rare" in note for note in data.notes)


@pytest.mark.parametrize("target", ["a,b", " a, b", ["a", "b"], ("a", -2), "4,5"])
def test_columns_are_named_on_the_way_in(target, tmp_path):
    file = tmp_path / "data.csv"
    table(HELD).to_csv(file, index=False)
    if target == ("a", -2):
        assert load(file, target=target).targets == ("a", "b")
        return
    data = load(file, target=target)
    assert (data.task, data.targets) == ("multi-label", ("a", "b"))
    np.testing.assert_array_equal(data.y, HELD[:, :2])
    assert list(data.X) == ["p", "q", "r", "c"]


def test_a_column_with_a_comma_in_its_name_is_one_column(tmp_path):
    file = tmp_path / "data.csv"
    table(HELD).rename(columns={"a": "a,b", "b": "d"}).to_csv(file, index=False)
    assert load(file, target="a,b").target == "a,b"
    assert load(file, target='"a,b",d').targets == ("a,b", "d")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("a,a", "'a' is named twice"),
        ("a,bb", "no column 'bb' to predict: did you mean 'b'"),
        ("a,99", "no column 99: the table has 6 columns"),
        ([], "names no column"),
    ],
)
def test_columns_that_are_not_there(target, message, tmp_path):
    table(HELD).to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "data.csv", target=target)


def test_a_table_of_test_rows_has_the_same_targets(tmp_path):
    table(HELD).to_csv(tmp_path / "data.csv", index=False)
    table(HELD)[["c", "b", "a", "p", "q", "r"]][:9].to_csv(tmp_path / "test.csv", index=False)
    data = load(tmp_path / "data.csv", target="a,b,c", test=tmp_path / "test.csv")
    np.testing.assert_array_equal(data.y_test, HELD[:9])
    table(HELD)[["p", "q", "r", "a"]].to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match="the test set has no target column 'b'"):
        load(tmp_path / "data.csv", target="a,b,c", test=tmp_path / "test.csv")


@pytest.mark.parametrize("kind", ["array", "tensor", "list", "frame", "pairs", "tensors", "names"])
def test_targets_in_memory(kind):
    features, y = X.astype(np.float32), HELD
    pairs = [(torch.tensor(a), torch.tensor(b)) for a, b in zip(features, y, strict=True)]
    frame = table(HELD)
    data = {
        "array": lambda: from_arrays(features, y),
        "tensor": lambda: from_arrays(features, torch.tensor(y)),
        "list": lambda: from_arrays(features, y.tolist()),
        "frame": lambda: from_arrays(features, pd.DataFrame(y, columns=list("abc"))),
        "pairs": lambda: from_arrays(_Pairs(pairs)),
        "tensors": lambda: from_arrays(
            torch.utils.data.TensorDataset(torch.tensor(features), torch.tensor(y))
        ),
        "names": lambda: from_arrays(frame, ["a", "b", "c"]),
    }[kind]()
    named = kind in ("frame", "names")
    assert data.targets == (("a", "b", "c") if named else ("y1", "y2", "y3"))
    assert data.task == "multi-label"
    np.testing.assert_array_equal(data.y, HELD)


class _Pairs(torch.utils.data.Dataset):
    def __init__(self, pairs):
        self.pairs = pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


def test_a_test_target_in_memory_has_the_same_columns():
    y = pd.DataFrame(NUMBERS, columns=["a", "b"])
    data = from_arrays(X, y, X_test=X[:4], y_test=y[["b", "a"]][:4])
    np.testing.assert_array_equal(data.y_test, NUMBERS[:4])
    with pytest.raises(DataError, match="y_test has 3 columns and that of the training rows 2"):
        from_arrays(X, y, X_test=X, y_test=HELD)
    frame = from_arrays(pd.DataFrame(X).assign(a=1.0 * np.arange(COUNT)), y, X_test=None)
    assert frame.targets == ("a_", "b")


def test_one_column_of_several_targets_is_a_plain_target_unless_asked():
    assert from_arrays(X, NUMBERS[:, :1]).task == "regression"
    asked = from_arrays(X, NUMBERS[:, :1], task="multi-output")
    assert (asked.y.shape, asked.targets) == ((COUNT, 1), ("y",))
    assert from_arrays(X, HELD[:, 0], task="multi-label").y.tolist() == HELD[:, :1].tolist()


@pytest.mark.parametrize("y", [HELD, NUMBERS, ONE_HOT], ids=["labels", "numbers", "one-hot"])
@pytest.mark.parametrize("as_table", [False, True])
def test_they_are_kept_in_the_run_folder(y, as_table, tmp_path):
    names = ["a", "b,c", "d"][: y.shape[1]]
    told = {"task": "multi-label"} if y is ONE_HOT else {}
    features = pd.DataFrame(X, columns=["p", "q", "r"]) if as_table else X
    held_out = {"X_test": features[:9], "y_test": pd.DataFrame(y[:9], columns=names)}
    data = from_arrays(features, pd.DataFrame(y, columns=names), **held_out, **told)
    save_rows(data, tmp_path)
    kept = row_settings(data, tmp_path)
    again = load(kept.pop("data"), **kept, **told)
    assert again.fingerprint == data.fingerprint
    assert again.targets == data.targets == tuple(names)
    np.testing.assert_array_equal(again.y_test, data.y_test)


def test_names_in_an_archive_must_fit(tmp_path):
    np.savez(tmp_path / "d.npz", X=X, y=HELD, targets=["a", "b"])
    with pytest.raises(DataError, match="must hold a name in targets for each column of y"):
        load(tmp_path / "d.npz")


def test_the_fingerprint_knows_the_targets():
    held = np.hstack([HELD, HELD, HELD])
    frames = [pd.DataFrame(held, columns=list(names)) for names in ("abcdefghi", "abcdefghj")]
    first, second = (from_arrays(X, y) for y in frames)
    assert first.target == second.target == "a, b, c, d, e and 4 more"
    assert first.fingerprint != second.fingerprint
    turned = pd.DataFrame(held[::-1], columns=list("abcdefghi"))
    assert first.fingerprint != from_arrays(X, turned).fingerprint


def test_rows_are_equal_if_all_their_targets_are():
    rows, y = np.repeat(X, 2, axis=0), np.repeat(NUMBERS, 2, axis=0)
    assert from_arrays(rows, y).repeated == 2 * COUNT
    y[::2, 1] += 1
    for features in (rows, pd.DataFrame(rows)):
        assert from_arrays(features, y).repeated == 0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(40, 150), st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(0.02, 0.98))
def test_every_part_has_its_share_of_every_label(count, labels, seed, share):
    rng = np.random.default_rng(seed)
    y = (rng.random((count, labels)) < np.linspace(share, 1 - share, labels)).astype(int)
    y[:, -1] = y[:, 0]  # a label that comes with another
    held = y.sum(0)
    y = y[:, (held >= 5) & (held <= count - 5)]
    if not y.shape[1]:
        return
    parts = split(from_arrays(np.zeros((count, 1)), y, task="multi-label"), seed=seed)
    sizes = round(0.2 * count + 1e-9), round(0.2 * count + 1e-9)
    assert abs(len(parts.val) - sizes[0]) <= 1
    assert abs(len(parts.test) - sizes[1]) <= 1
    whole = np.sort(np.concatenate([parts.train, parts.val, parts.test]))
    np.testing.assert_array_equal(whole, np.arange(count))
    for part in (parts.train, parts.val, parts.test):
        assert (y[part].min(0) == 0).all()
        assert (y[part].max(0) == 1).all()


def test_shares_of_labels_are_nearer_than_chance():
    y = (np.random.default_rng(0).random((200, 10)) < 0.1).astype(int)
    parts = split(from_arrays(np.zeros((200, 1)), y, task="multi-label"), seed=0)
    gaps = [np.abs(y[part].mean(0) - y.mean(0)).max() for part in (parts.test, parts.val)]
    assert max(gaps) < 0.02  # at random it is about 0.06


def test_a_scarce_label_is_named():
    y = HELD.copy()
    y[:, 1] = np.arange(COUNT) < 3
    with pytest.raises(DataError, match=r"label 'y2' has 3 of 40 rows.* leave the label out"):
        split(from_arrays(X, y), seed=0)
    with pytest.raises(DataError, match=r"the absence of label 'y2' has 3 of 40 rows"):
        split(from_arrays(X, 1 - y), seed=0)


def test_a_split_that_leaves_a_label_untrained_is_refused():
    frame = table(HELD).assign(b=(np.arange(COUNT) >= 30).astype(int), day=range(COUNT))
    data = from_arrays(frame, ["a", "b", "c"], time="day")
    with pytest.raises(DataError, match="no row of label 'b' to train on"):
        split(data, seed=0, by="time")


def test_groups_stay_together_and_labels_keep_their_shares():
    frame = table(HELD).assign(owner=[f"o{i % 20}" for i in range(COUNT)])
    data = from_arrays(frame, ["a", "b", "c"], group="owner")
    parts = split(data, seed=0, by="group")
    owners = frame.owner.to_numpy()
    assert not {*owners[parts.train]} & {*owners[parts.test]}
    assert np.abs(HELD[parts.test].mean(0) - HELD.mean(0)).max() < 0.3


def test_numbers_are_divided_by_their_first_principal_component():
    common = np.random.default_rng(0).normal(size=300)
    y = np.stack([common, 100 * common + np.random.default_rng(1).normal(size=300)], 1)
    parts = split(from_arrays(np.zeros((300, 1)), y), seed=0)
    rank = np.argsort(np.argsort(common)) / 300
    for part in (parts.train, parts.val, parts.test):
        assert abs(rank[part].mean() - 0.5) < 0.02
    one = from_arrays(X, NUMBERS[:, :1], task="multi-output")
    plain = from_arrays(X, NUMBERS[:, 0])
    for part in ("train", "val", "test"):
        rows = [getattr(split(each, seed=3), part) for each in (one, plain)]
        np.testing.assert_array_equal(*rows)


def test_each_number_is_standardized_by_the_training_rows():
    fitted = Preprocessor().fit(X[:30], NUMBERS[:30])
    found = fitted.target(NUMBERS)
    np.testing.assert_allclose(found[:30].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(found[:30].std(0), 1, rtol=1e-6)
    np.testing.assert_allclose(found * fitted.target_scale + fitted.target_mean, NUMBERS, rtol=1e-4)
    assert Preprocessor().fit(X, HELD).target(HELD).dtype == np.float32

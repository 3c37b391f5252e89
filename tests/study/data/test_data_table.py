"""Tables: from files to `Data`, small ones and real ones."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropkit.study.data import DataError, Preprocessor, load, split

REAL = Path(__file__).parents[4] / "shared" / "data" / "tabular"
real = pytest.mark.skipif(not REAL.is_dir(), reason=f"needs the data in {REAL}")


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="table.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return to_file


PEOPLE = "age,job,label\n" + "31,a,yes\n42,b,no\n?,a,yes\n25,c,no\n" * 5
REPEATS = (
    "20 of 20 rows are in the data more than once; copies may end up in both training and test"
)


def test_table(write):
    data = load(write(PEOPLE))
    assert (data.name, data.task, data.classes, data.target) == (
        "table.csv",
        "classification",
        ("no", "yes"),
        "label",
    )
    assert list(data.X) == ["age", "job"]
    assert data.y[:4].tolist() == [1, 0, 1, 0]
    assert data.notes == ("target not given: column 'label' was taken",)
    assert data.doubts == (f"{REPEATS}: remove them to compare methods",)


def test_parquet_equals_csv(write, tmp_path):
    csv = load(write(PEOPLE), target="label")
    pd.read_csv(write(PEOPLE), na_values="?").to_parquet(tmp_path / "t.parquet")
    assert load(tmp_path / "t.parquet", target="label").fingerprint == csv.fingerprint


@pytest.mark.parametrize(
    ("target", "column"), [("job", "job"), ("2", "job"), (-2, "job"), ("-1", "label"), (1, "age")]
)
def test_target_by_name_or_position(write, target, column):
    text = PEOPLE.replace("?", "60")
    assert load(write(text), target=target, task="classification").target == column


def test_without_usual_name_the_last_column_is_the_target(write):
    data = load(write(PEOPLE.replace("label", "ill")))
    assert data.target == "ill"
    assert "the last column 'ill' was taken" in data.notes[0]


def test_without_header(write):
    data = load(write(PEOPLE.split("\n", 1)[1]))
    assert data.target == "column_3"
    assert data.notes[0] == "no header row found: the columns are named column_1 … column_3"


def test_test_table(write):
    train = write(PEOPLE)
    test = write("label,extra,job,age\nyes.,0,zz,50\n", "test.csv")
    data = load(train, test=test, target="label")
    assert data.X_test.to_dict("records") == [{"age": 50.0, "job": "zz"}]
    assert data.y_test.tolist() == [1]
    assert any("full stop" in note for note in data.notes)
    assert any("only the test set has: extra" in note for note in data.notes)


def test_test_rows_that_are_training_rows_are_reported(write):
    train = write(PEOPLE)
    told = (
        "20 of 20 test rows are also in the training data, which makes the scores too good: remove"
    )
    assert load(train, test=train).doubts[0].startswith(told)
    others = "age,job,label\n31,a,no\n43,b,no\n?,c,yes\n"  # never all of features and target
    assert len(load(train, test=write(others, "test.csv")).notes) == 1
    some = load(train, test=write(others + "42,b,no\n", "test.csv"))
    assert some.doubts[0].startswith("1 of 4 test rows")


def test_test_table_has_a_header_if_the_training_table_has(write):
    train = write("u,v\nv,u\n" * 10)
    # Alone, one row of words would pass for a header.
    assert len(load(train, test=write("u,v\n", "test.csv")).X_test) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [("labl", "did you mean 'label'"), (4, "has 3 columns"), ("0", "has 3 columns")],
)
def test_missing_target(write, target, message):
    with pytest.raises(DataError, match=message):
        load(write(PEOPLE), target=target)


def test_test_table_without_target_or_of_another_width(write):
    train, bare = write(PEOPLE), write(PEOPLE.split("\n", 1)[1], "bare.csv")
    with pytest.raises(DataError, match="test set has no target column 'label'"):
        load(train, test=write("age,job\n1,a\n", "test.csv"))
    with pytest.raises(DataError, match=r"has 2 columns, .* has 3"):
        load(bare, test=write("1,a\n2,b\n", "test.csv"), header=False)


def test_fingerprint_follows_content_and_order_alone(write):
    first = load(write(PEOPLE)).fingerprint
    assert load(write(PEOPLE, "renamed.csv")).fingerprint == first
    changed = {
        load(write(text), target=target).fingerprint
        for text, target in [
            (PEOPLE.replace("31,a", "32,a", 1), "label"),
            (PEOPLE.replace("42,b", "42,d", 1), "label"),
            (PEOPLE.replace("42,b", "?,b", 1), "label"),
            (PEOPLE.replace("age", "years"), "label"),
            (PEOPLE + "31,a,yes\n", "label"),
            (PEOPLE, "job"),
        ]
    }
    assert len(changed | {first}) == 7


@real
def test_adult_with_its_test_file():
    data = load(REAL / "adult-train.csv", test=REAL / "adult-test.csv")
    assert data.X.shape == (32561, 14)
    assert data.X_test.shape == (16281, 14)
    assert data.classes == ("<=50K", ">50K")
    # Counts by `grep -c '>50K'` in the two files.
    assert (data.y.sum(), data.y_test.sum()) == (7841, 3846)
    assert data.X["column_2"].isna().sum() == 1836
    parts = split(data, seed=0)
    fitted = Preprocessor().fit(data.X.iloc[parts.train], data.y[parts.train])
    assert np.isfinite(fitted.transform(data.X_test)).all()


@real
def test_splice_junctions():
    data = load(REAL / "DNA.csv")
    assert (data.X.shape, data.classes, data.target) == ((3186, 180), ("ei", "ie", "n"), "Class")


@real
def test_letters():
    data = load(REAL / "LetterRecognition.csv", target="lettr")
    assert data.X.shape == (20000, 16)
    assert "".join(data.classes) == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

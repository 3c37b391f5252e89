"""Names and paths that lead to data, or do not."""

import numpy as np
import pytest

from dropkit.study.data import DataError, load


def test_digits():
    data = load("digits")
    assert data.X.shape == (1797, 1, 8, 8)
    assert (data.X.min(), data.X.max()) == (0.0, 1.0)
    assert data.classes == tuple("0123456789")
    np.testing.assert_array_equal(np.bincount(data.y)[:3], [178, 182, 177])
    assert data.fingerprint == load("digits").fingerprint


def test_missing_files_name_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "adult.csv").touch()
    with pytest.raises(DataError, match=r"did you mean 'adult\.csv'"):
        load(tmp_path / "adlt.csv")
    with pytest.raises(DataError, match="there is no folder"):
        load(tmp_path / "nowhere" / "adult.csv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="did you mean 'mnist'"):
        load("mnits")


def test_unknown_kind(tmp_path):
    (tmp_path / "book.xlsx").touch()
    with pytest.raises(DataError, match=r"book.xlsx is of no known kind.*\.csv"):
        load(tmp_path / "book.xlsx")
    (tmp_path / "a b.csv.gz").touch()
    with pytest.raises(DataError, match=r"unpack it with gunzip -k '.*a b.csv.gz', or"):
        load(tmp_path / "a b.csv.gz")


def test_a_table_may_be_called_txt(tmp_path):
    (tmp_path / "t.txt").write_text("a,y\n1,u\n2,v\n2,u\n")
    assert load(tmp_path / "t.txt").classes == ("u", "v")


def test_broken_parquet(tmp_path):
    (tmp_path / "t.parquet").write_text("words")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        load(tmp_path / "t.parquet")


def test_unreadable_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is empty"):
        load(tmp_path / "folder.csv")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot read"):
        load(tmp_path / "t.csv", test=tmp_path / "folder.csv")


@pytest.mark.parametrize(
    "argument",
    [{"target": "a"}, {"task": "regression"}, {"header": True}, {"test": "b.csv"}],
)
def test_arguments_without_meaning_are_refused(argument):
    with pytest.raises(DataError, match="has no meaning for 'digits'"):
        load("digits", **argument)

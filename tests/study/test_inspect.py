"""How data are read, before anything is trained."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropkit import cli
from dropkit.study import StudyError, inspect

ROWS = pd.DataFrame(
    {
        "price": ["$1,200.50", "$3.00", "", "$17.25"] * 10,
        "zip": ["02134", "10001"] * 20,
        "same": 1,
        "bad<b>": ["x", "y", "z", "z"] * 10,
    }
)
LABELS = ["yes", "no", "no", "no"] * 10


def test_what_is_found():
    found = inspect(ROWS, LABELS)
    assert (found.task, found.rows, found.repeated) == ("classification", 40, 40)
    assert found.classes == (("no", 30), ("yes", 10))
    assert found.parts == {"training": 24, "validation": 8, "test": 8}
    price, code, same, _ = found.columns
    assert (price.kind, price.missing, price.lowest, price.highest) == ("number", 10, "3", "1200.5")
    assert price.examples == ("$1,200.50", "$3.00", "$17.25")
    assert (code.kind, same.kind, same.is_left_out) == ("category", "constant", True)
    assert any('read="zip=number"' in note for note in found.notes)


def test_the_options_that_concern_the_data_count():
    found = inspect(ROWS, LABELS, read={"zip": "drop"}, test_fraction=0.5, val_fraction=0.25)
    assert found.columns[1].kind == "drop"
    assert found.parts == {"training": 10, "validation": 10, "test": 20}
    with pytest.raises(StudyError, match="no setting 'epochs'"):
        inspect(ROWS, LABELS, epochs=3)


def test_arrays_and_a_fixed_test_set():
    X, y = np.random.default_rng(0).random((30, 2)), np.arange(30) / 7
    found = inspect(X, y, X_test=X[:5], y_test=y[:5])
    assert (found.inputs, found.rows_test, found.parts["test"]) == ((2,), 5, 5)
    assert found.target_range == (0.0, 29 / 7)
    assert "repeated rows: 5 of 5 appear in the training data as well" in str(found)


def test_the_command(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    ROWS.assign(y=LABELS).to_csv("shop.csv", index=False)
    words = ["inspect", "shop.csv", "--target", "y", "--read", "same=number", "--html", "page.html"]
    assert cli.run(words) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "number (in $)" in out
    assert "3 to 1200.5" in out
    assert "25.0 %" in out
    page = Path("page.html").read_text()
    assert "bad&lt;b&gt;" in page
    assert "bad<b>" not in page
    assert sorted(map(str, Path().iterdir())) == ["page.html", "shop.csv"]


def test_a_wrong_kind_ends_in_one_line(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    ROWS.assign(y=LABELS).to_csv("shop.csv", index=False)
    for told, message in (
        ("zip=nummer", "cannot be read as 'nummer': did you mean 'number'?"),
        ("zap=number", "no column 'zap' to read as number: did you mean 'zip'?"),
        ("zip", "read must give columns a kind"),
    ):
        assert cli.run(["inspect", "shop.csv", "--read", told]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

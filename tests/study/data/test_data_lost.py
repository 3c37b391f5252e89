"""Inputs that reading has lost are told before any verdict, and others never."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropkit.study import compare
from dropkit.study.data import Data, load
from helpers.messy import Messy, tables

RNG = np.random.default_rng(0)
PRICE, SHARE = RNG.lognormal(6, 1, 1800), RNG.uniform(0, 100, 1800)
SOLD = np.where(PRICE > 400, "yes", "no")
MONEY = {"price": [f"${p:,.2f}" for p in PRICE], "share": [f"{s:.1f}%" for s in SHARE]}


def read(folder: Path, columns: dict[str, list[str]], **settings: dict[str, str]) -> Data:
    file = folder / "table.csv"
    pd.DataFrame({**columns, "sold": SOLD}).to_csv(file, index=False)
    return load(file, target="sold", **settings)  # type: ignore[arg-type]


def test_money_and_percentages_that_are_read_as_words(tmp_path: Path) -> None:
    assert read(tmp_path, MONEY).doubts == ()
    told = {"price": "category", "share": "category"}
    (doubt,) = read(tmp_path, MONEY, read=told).doubts
    assert doubt.startswith(
        "Most inputs were lost in reading: 2 of 2 columns ('price', 'share') were read as "
        "categories, and almost all of their values are too rare to use; "
    )
    assert "of 1,800 rows have the same features as another row. Correct the kinds of" in doubt
    assert doubt.endswith("--read price=number")


def test_amounts_in_a_notation_that_nobody_knows(tmp_path: Path) -> None:
    cells = [f"about {p:.2f} or so" for p in PRICE]
    colours = {"colour": RNG.choice(["red", "green"], 1800).tolist()}
    for same in (1, 18):  # without any that is frequent, they seem to name the rows
        cells[::same] = ["on request"] * len(cells[::same]) if same > 1 else cells
        columns = {"price": cells, "net": cells[::-1], **colours}
        (doubt,) = read(tmp_path, columns).doubts
        assert "2 of 3 columns ('price', 'net') were read as categories" in doubt
        assert doubt.endswith("--read price=number")


def test_a_column_among_others_is_no_doubt_of_all(tmp_path: Path) -> None:
    more = {"area": [f"{a:.2f}" for a in RNG.normal(size=1800)]}
    assert read(tmp_path, {**MONEY, **more}, read={"price": "category"}).doubts == ()


def test_columns_that_name_the_rows_are_no_inputs(tmp_path: Path) -> None:
    columns = {
        "id": [f"A-{i:05d}" for i in range(1800)],
        "colour": RNG.choice(["red", "green", "blue"], 1800).tolist(),
    }
    assert not any("lost in reading" in doubt for doubt in read(tmp_path, columns).doubts)


def test_text_that_is_left_out(tmp_path: Path) -> None:
    words = RNG.choice(["good", "bad", "late", "soon", "kind", "rude", "fast"], (1800, 9))
    columns = {
        "review": [f"{i} " + " ".join(row) for i, row in enumerate(words)],
        "stars": RNG.integers(1, 6, 1800).astype(str).tolist(),
    }
    (doubt, *_) = read(tmp_path, columns).doubts
    assert "1 of 2 columns ('review') hold text, which is left out" in doubt
    assert doubt.endswith("--read review=text")
    assert not any("lost" in d for d in read(tmp_path, columns, read={"review": "text"}).doubts)


@pytest.mark.parametrize("table", tables(), ids=lambda table: table.name)
def test_tables_that_are_read_well_raise_no_doubt(table: Messy, tmp_path: Path) -> None:
    lost = [doubt for doubt in load(table.write(tmp_path)).doubts if "lost in reading" in doubt]
    # Beside its free text the table of reviews holds next to nothing.
    assert bool(lost) == (table.name == "reviews")


def test_it_is_the_verdict(tmp_path: Path) -> None:
    table = pd.DataFrame({**MONEY, "sold": SOLD})[:300]
    results = compare(
        table,
        "sold",
        read=["price=category", "share=category"],
        methods="none,l1",
        seeds=2,
        epochs=1,
        hidden=(4,),
        jobs=1,
    )
    assert results.analysis.verdict.headline.startswith("Most inputs were lost in reading")
    assert "Look at how the data are read" in results.analysis.verdict.step.text

"""Whatever comes in, the user is told in one line: `StudyError` or `DataError`, nothing else.

A few examples in every run of the suite; as many as ``DROPKIT_FUZZ`` says with ``make fuzz``.
What failed once is kept below.
"""

import io
import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.data import DataError, load
from dropkit.study.methods.parsing import parse, parse_list

fuzz = settings(
    max_examples=int(os.environ.get("DROPKIT_FUZZ", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    database=None,
)

CELLS = [
    "", "1", "2.5", "a", "b", "nan", "inf", "-", "1e400", "NA", "true", "2020-01-01", "=1+1",
    "<script>", "\x1b[31m", '"', "'", "1,5", "0x1f", "1_000", " 3 ", "é", "½",
]  # fmt: skip
CELL = st.one_of(
    st.sampled_from(CELLS), st.text(max_size=6), st.floats().map(str), st.integers().map(str)
)
WORDS = st.sampled_from(
    [
        *"()+,= \n\x00½٣",
        "none",
        "dropout",
        "l1",
        "p",
        "input",
        "members",
        "0.5",
        "1e309",
        "-1",
        "nan",
    ]
)


@contextmanager
def only_known_errors() -> Iterator[None]:
    """Ignore a `StudyError` or `DataError` with a message; other errors pass on."""
    said = "all is well"
    try:
        yield
    except (StudyError, DataError) as error:
        said = str(error)
    assert said


def tried(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with only_known_errors():
        load(path)


@fuzz
@given(st.one_of(st.text(max_size=30), st.lists(WORDS, max_size=12).map("".join)))
def test_method_expressions(text: str) -> None:
    with only_known_errors():
        for part in parse_list(text):
            expression = parse(part)
            assert parse(str(expression)) == expression


@fuzz
@given(
    rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=40),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "latin-1", "utf-16"]),
    suffix=st.sampled_from([".csv", ".tsv"]),
)
def test_tables(
    tmp_path: Path, rows: list[list[str]], separator: str, encoding: str, suffix: str
) -> None:
    text = "\n".join(separator.join(row) for row in rows)
    tried(tmp_path / f"table{suffix}", text.encode(encoding, "replace"))


@fuzz
@given(
    rows=st.integers(5, 40),
    columns=st.integers(2, 4),
    pool=st.lists(CELL, min_size=2, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_rectangular_tables(
    tmp_path: Path, rows: int, columns: int, pool: list[str], seed: int
) -> None:
    draw = random.Random(seed)
    cells = [cell.translate({ord(c): None for c in ",\n\r"}) for cell in pool]
    text = "\n".join(",".join(draw.choices(cells, k=columns)) for _ in range(rows))
    tried(tmp_path / "table.csv", text.encode("utf-8", "replace"))


@fuzz
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".npz", ".parquet"]))
def test_any_bytes(tmp_path: Path, content: bytes, suffix: str) -> None:
    tried(tmp_path / f"file{suffix}", content)


def archive(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


GOOD = archive(X=np.random.default_rng(0).normal(size=(30, 3)), y=np.arange(30) % 2)


@fuzz
@given(
    changes=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=5),
    length=st.integers(0, 2 * len(GOOD)),
)
def test_damaged_archives(tmp_path: Path, changes: list[tuple[int, int]], length: int) -> None:
    content = bytearray(GOOD)
    for place, value in changes:
        content[place] = value
    tried(tmp_path / "data.npz", bytes(content[:length]))


ARRAYS: list[Any] = [
    np.zeros((30, 3)), np.full((30, 3), np.nan), np.zeros(30), np.zeros((30, 0)),
    np.array(["a"] * 30), np.zeros((30, 2), complex), np.arange(30), np.zeros((0, 3)),
    np.zeros((30, 1, 5, 5)), np.array(5.0), np.full(30, np.inf), np.arange(30) % 2,
    np.array([True, False] * 15), np.zeros((30, 3), "datetime64[s]"), np.zeros(30, "S3"),
    np.full((30, 3), 1e300), np.arange(30) * 2**58, np.zeros((30, 2), "i1"),
]  # fmt: skip


@pytest.mark.parametrize("x", range(len(ARRAYS)))
def test_any_two_arrays(tmp_path: Path, x: int) -> None:
    for target in ARRAYS:
        tried(tmp_path / "data.npz", archive(X=ARRAYS[x], y=target))
    tried(tmp_path / "data.npz", archive(X=ARRAYS[x]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("study") / "run"
    rows = np.random.default_rng(0).normal(size=(60, 3))
    compare(rows, (rows[:, 0] > 0).astype(int), methods="none,dropout", seeds=2, epochs=2,
            hidden=(8,), jobs=1, out=folder)  # fmt: skip
    return (folder / "results.json").read_text()


@fuzz
@given(seed=st.integers(0, 2**32), cut=st.booleans())
def test_damaged_results(tmp_path: Path, finished: str, seed: int, cut: bool) -> None:
    draw = random.Random(seed)
    text = finished[: draw.randrange(len(finished))] if cut else _changed(finished, draw)
    (tmp_path / "results.json").write_text(text)
    with only_known_errors():
        Results.load(tmp_path)


def _changed(text: str, draw: random.Random) -> str:
    whole = place = json.loads(text)
    while True:
        key = draw.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not (isinstance(place[key], dict | list) and place[key] and draw.random() < 0.8):
            break
        place = place[key]
    if isinstance(place, dict) and draw.random() < 0.3:
        del place[key]
    else:
        place[key] = draw.choice([None, -1, "x", [], {}, 1e30, True, "<b>", 10**30, 0.5])
    return json.dumps(whole)


KEYS = ["data", "methods", "seeds", "epochs", "lr", "hidden", "tune", "weights", "task", "model"]
VALUES = ['"digits"', "1", "-1", "1e999", "nan", "[]", '["none"]', "[1,2]", '"cnn"', "true", "{}"]


@fuzz
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KEYS, "batch_size", "val_fraction", "threads", "x"]),
            st.sampled_from([*VALUES, '"none,dropout"', "0.5", "2020-01-01", '"', "9" * 30]),
        ),
        max_size=6,
    )
)
def test_study_files(tmp_path: Path, items: list[tuple[str, str]]) -> None:
    path = tmp_path / "study.toml"
    path.write_text("\n".join(f"{key} = {value}" for key, value in items))
    with only_known_errors():
        Study.from_toml(str(path))


# What failed once.


@pytest.mark.parametrize("content", [b'"', b'"\n', b'";"'])
def test_an_open_quotation_mark_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(DataError):
        load(path)


@pytest.mark.parametrize("place", [4, 6, 8])
def test_archives_that_python_cannot_open(tmp_path: Path, place: int) -> None:
    """A version, a flag (encrypted) and a compression that the zip module has not."""
    content = bytearray(GOOD)
    entry = content.index(b"PK\x01\x02")  # the central directory, two bytes further on
    content[entry + place + 2] = 99 if place != 6 else 1
    path = tmp_path / "data.npz"
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="truncated or no"):
        load(path)

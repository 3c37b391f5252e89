"""Data that do not fit in memory, read in pieces."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from dropkit.errors import StudyError
from dropkit.study import Study, compare, inspect, parquet
from dropkit.study.data import (
    DataError,
    StoredArray,
    StreamedData,
    _repeats,
    _streamed,
    _streamed_table,
    load,
    split_streamed,
)
from dropkit.study.data._scratch import Scratch
from dropkit.study.prepare import load_data, prepare_study
from dropkit.study.training import folds, streamed
from dropkit.study.training.folds import make_fold
from helpers.little_memory import little_memory, needs_limits

ROWS = 500


@pytest.fixture(autouse=True)
def in_small_pieces(monkeypatch, tmp_path):
    """Read so few rows at a time that every file takes many pieces."""
    monkeypatch.setenv("DROPKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parquet, "PIECE", 32)
    monkeypatch.setattr(streamed, "_BLOCK", 200)
    monkeypatch.setattr(streamed, "_SHUFFLED", 2000)
    monkeypatch.setattr(streamed, "_MOST_ROWS", 24)


def make_frame(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 3, rows)
    return pd.DataFrame(
        {
            "size": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows) + kind),
            "price": [f"${v:,.2f}" for v in rng.uniform(1, 5000, rows)],
            "colour": rng.choice(["red", "green", None], rows),
            "town": rng.choice([f"town {i}" for i in range(90)], rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 900, rows), "D"),
            "constant": 1,
            "kind": np.array(["ant", "bee", "cat"])[kind],
        }
    )


@pytest.fixture
def table(tmp_path):
    make_frame().to_parquet(tmp_path / "t.parquet", row_group_size=100)
    return tmp_path / "t.parquet"


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(60):
            pixels = rng.integers(0, 255, (6, 5) if i % 3 else (6, 5, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{i:03}.png")
    return tmp_path / "images"


def test_a_table_is_read_as_at_once(table):
    whole, pieces = load(table, stream=False), load(table, stream=True)
    everything = pieces.X.take(np.arange(ROWS))
    pd.testing.assert_frame_equal(everything, whole.X)
    np.testing.assert_array_equal(pieces.y.take(np.arange(ROWS)), whole.y)
    assert (pieces.classes, pieces.task, pieces.target) == (whole.classes, whole.task, whole.target)
    assert pieces.columns == whole.columns
    assert pieces.count_classes().tolist() == whole.count_classes().tolist()
    some = np.array([7, 3, 499, 3, 250])
    pd.testing.assert_frame_equal(pieces.X.take(some), whole.X.iloc[some].reset_index(drop=True))


def test_images_are_read_as_at_once(folder):
    whole, pieces = load(folder, stream=False), load(folder, stream=True)
    np.testing.assert_array_equal(pieces.X.take(np.arange(120)), whole.X)
    np.testing.assert_array_equal(pieces.y.take(np.arange(120)), whole.y)
    assert pieces.X.shape == whole.X.shape == (120, 3, 6, 5)


def test_numbers_are_predicted_as_well(table):
    whole, pieces = (load(table, target="price", stream=stream) for stream in (False, True))
    np.testing.assert_array_equal(pieces.y.take(np.arange(ROWS)), whole.y)
    assert pieces.target_range() == whole.target_range()


def test_preprocessing_is_that_of_rows_in_memory(table):
    """If all training rows are few enough to be looked at, the fold's numbers are the same."""
    data, study = load(table, stream=True), Study(data=str(table), stream=True)
    fold, parts = make_fold(data, study, 3), folds.split_rows(data, study, 3)
    whole = load(table, stream=False)
    numbers = parts.train.numbers(np.arange(len(parts.train)))
    fitted = folds.Preprocessor().fit(whole.X.iloc[numbers], whole.y[numbers])
    for part, rows in (("train", numbers), ("val", parts.val), ("test", parts.test)):
        expected = fitted.transform(whole.X.iloc[rows])
        np.testing.assert_array_equal(fold.rows(part)[:].numpy(), expected)
        np.testing.assert_array_equal(fold.target(part).numpy(), whole.y[rows])
    assert fold.inputs == expected.shape[1:]


def test_every_training_row_comes_once_in_a_pass_and_in_another_order(table):
    data, study = load(table, stream=True), Study(data=str(table), stream=True)
    fold = make_fold(data, study, 0)
    batches = fold.batches(32, seed=1)
    passes = [[(x, y) for x, y, _ in batches] for _ in range(2)]
    again = [(x, y) for x, y, _ in fold.batches(32, seed=1)]
    sizes = [len(x) for x, _ in passes[0]]
    assert sizes == [32] * 9 + [12]
    expected = torch.cat([fold.x_train[:], fold.y_train[:, None]], 1)
    for each in passes:
        rows = torch.cat([torch.cat([x, y[:, None]], 1) for x, y in each])
        assert sorted(rows.tolist()) == sorted(expected.tolist())
        assert not torch.equal(rows, expected)
    assert not torch.equal(passes[0][0][0], passes[1][0][0])
    assert all(torch.equal(a[0], b[0]) for a, b in zip(passes[0], again, strict=True))


def test_neighbours_are_torn_apart(table):
    """Rows that stand together in the file are spread over those that are shuffled together."""
    data, study = load(table, stream=True), Study(data=str(table), stream=True)
    fold = make_fold(data, study, 0)
    first = next(fold.training.shuffle(torch.Generator().manual_seed(0)))[0]
    rows = [fold.x_train[:].tolist().index(row) for row in first.tolist()]
    assert np.abs(np.diff(rows)).mean() > 20


@pytest.mark.parametrize(("rows", "size"), [(65, 32), (64, 32), (3, 32), (33, 32), (66, 32)])
def test_a_single_row_left_over_joins_the_batch_before_it(tmp_path, rows, size):
    array = StoredArray(
        Scratch(), "x", rows, np.empty((1, 2, 2, 2), np.uint8),
        lambda: iter([np.arange(8 * rows, dtype=np.uint8).reshape(rows, 2, 2, 2)]),
    )  # fmt: skip
    y = StoredArray(
        Scratch(), "y", rows, np.empty(1, np.uint8), lambda: iter([np.zeros(rows, np.uint8)])
    )
    fitted = folds.Preprocessor().fit(np.zeros((1, 2, 2, 2), np.uint8), np.zeros(1, int))
    rest = _streamed.Rest(rows, np.array([], np.int64))
    training = streamed.StreamedTraining(array, y, rest, fitted, at_once=7)
    batches = streamed.StreamedBatches(training, size, 0, folds.ALONE)
    held = [len(x) for x, _, _ in batches]
    in_memory = folds.Batches(torch.zeros(rows, 1), torch.zeros(rows), size, 0)
    assert held == [len(x) for x, _, _ in in_memory]
    assert len(batches) == len(held)


def test_what_is_held_out_is_limited_and_locked(table, monkeypatch):
    monkeypatch.setattr(_streamed, "LIMIT", 30)
    data = load(table, stream=True)
    parts = [
        split_streamed(data, seed=seed, val_fraction=0.2, test_fraction=0.2) for seed in (0, 1)
    ]
    for part in parts:
        assert (len(part.train), len(part.val), len(part.test)) == (ROWS - 60, 30, 30)
        train = part.train.numbers(np.arange(len(part.train)))
        assert sorted([*train, *part.val, *part.test]) == list(range(ROWS))
    assert parts[0].test.tolist() == parts[1].test.tolist()
    assert parts[0].val.tolist() != parts[1].val.tolist()


def test_fixed_parts(tmp_path, table):
    val, test = make_frame(40, 1), make_frame(50, 2)
    val.to_parquet(tmp_path / "v.parquet")
    test.to_parquet(tmp_path / "u.parquet")
    data = load(table, val=tmp_path / "v.parquet", test=tmp_path / "u.parquet", stream=True)
    parts = split_streamed(data, seed=0, val_fraction=0.2, test_fraction=0.2)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (ROWS, 40, 50)
    whole = load(table, val=tmp_path / "v.parquet", test=tmp_path / "u.parquet", stream=False)
    pd.testing.assert_frame_equal(data.X.take(parts.test), whole.X_test)
    pd.testing.assert_frame_equal(
        data.X.take(parts.val), whole.X.iloc[whole.val_rows].reset_index(drop=True)
    )
    np.testing.assert_array_equal(data.y.take(parts.test), whole.y_test)
    assert (data.rows, data.rows_test) == (ROWS + 40, 50)
    assert data.count_classes(test=True).sum() == ROWS + 90


def test_a_rare_class_and_odd_cells_beyond_the_sample_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(_streamed_table, "_SAMPLE", 40)
    frame = make_frame()
    frame.loc[[100, 101, 102, 400, 401, 402], "kind"] = "dodo"
    frame.loc[300, "price"] = "dear"
    frame.to_parquet(tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", stream=True)
    assert data.classes == ("ant", "bee", "cat", "dodo")
    assert data.count_classes()[3] == 6
    notes = data.with_rows_read().notes
    assert any("from row 289 on: column 'price'" in note and "'dear'" in note for note in notes)
    assert np.isnan(data.X.take(np.array([300]))["price"][0])


def test_kinds_that_a_later_row_contradicts_are_refused_with_its_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(_streamed_table, "_SAMPLE", 10)
    frame = make_frame()
    frame.loc[320:351, "price"] = "much"
    frame.to_parquet(tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", stream=True)
    with pytest.raises(DataError, match=r"rows 321 to 352 of .*column 'price' must hold numbers"):
        _ = data.fingerprint


@pytest.mark.parametrize("watched", [10**6, 100])
def test_repeated_rows_are_counted(tmp_path, monkeypatch, watched):
    monkeypatch.setattr(_repeats, "_WATCHED", watched)
    frame = make_frame(2000)
    pd.concat([frame, frame[:500]]).to_parquet(tmp_path / "t.parquet")
    data = load(tmp_path / "t.parquet", stream=True).with_rows_read()
    if watched > 2500:
        assert data.repeated == load(tmp_path / "t.parquet", stream=False).repeated == 1000
    else:  # 100 of 2,500 rows, 40 ± 5 % of them repeated
        assert 0.15 < data.repeated / 2500 < 0.65
    assert "remove them" in data.doubts[0]


def test_the_file_is_named_by_its_content(table, tmp_path):
    first = load(table, stream=True).fingerprint
    (tmp_path / "other.parquet").write_bytes(table.read_bytes())
    assert load(tmp_path / "other.parquet", stream=True).fingerprint == first
    frame = make_frame()
    frame.loc[490, "size"] = 77.0
    frame.to_parquet(table)
    assert load(table, stream=True).fingerprint != first


def test_large_files_are_read_in_pieces_unasked(table, folder, monkeypatch):
    assert not isinstance(load(table), StreamedData)
    assert not isinstance(load(folder), StreamedData)
    monkeypatch.setattr(_streamed_table, "CELLS", 7 * ROWS)
    monkeypatch.setattr("dropkit.study.data._streamed_images.BYTES", 120 * 90 - 1)
    assert isinstance(load(table), StreamedData)
    assert isinstance(load(folder), StreamedData)
    assert not isinstance(load(table, stream=False), StreamedData)
    assert not isinstance(load(table, time="day"), StreamedData)


def test_inspected_without_writing(table, tmp_path):
    found = inspect(table, stream=True)
    assert (found.rows, found.parts) == (ROWS, {"training": 300, "validation": 100, "test": 100})
    assert [column.name for column in found.columns if column.is_left_out] == ["constant"]
    assert "read in pieces: 500 rows" in found.notes[0]
    assert {name for _, name in found.classes} != set()


@pytest.mark.soak
def test_compared_by_workers_as_by_this_process(table, tmp_path, monkeypatch):
    monkeypatch.undo()  # workers read in pieces of the usual size
    monkeypatch.setenv("DROPKIT_CACHE", str(tmp_path / "cache"))
    settings = {"methods": "none", "seeds": 2, "epochs": 2, "hidden": (8,), "stream": True}
    results, again = (compare(str(table), jobs=jobs, **settings) for jobs in (2, 1))
    assert results.record.data.rows_train == 300
    assert results.runs[0].steps == 6
    assert [run.test for run in again.runs] == [run.test for run in results.runs]


def test_images_are_compared(folder):
    results = compare(str(folder), methods="none", seeds=1, epochs=1, stream=True, jobs=1)
    assert results.record.data.inputs == (3, 6, 5)
    assert results.runs[0].status == "finished"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "time"}, "a split by time needs all rows in memory; .*stream=False"),
        ({"preprocess": False}, "leave preprocessing on"),
        ({"methods": "none,dropout-ridge", "target": "price"}, "needs all rows at once"),
        ({"test": "t.csv"}, "must be a Parquet file"),
    ],
)
def test_refused(table, settings, message):
    (table.parent / "t.csv").write_text("a,b\n1,2\n")
    if "test" in settings:
        settings = {"test": str(table.parent / "t.csv")}
    with pytest.raises(StudyError, match=message):
        compare(str(table), stream=True, epochs=1, **settings)


def test_text_tables_are_not_read_in_pieces(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="stream has no meaning for"):
        load(tmp_path / "t.csv", stream=True)


def test_the_error_for_a_missing_target_names_the_row(tmp_path):
    frame = make_frame()
    frame.loc[333, "kind"] = None
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="'kind' is missing or NaN in row 334"):
        load(tmp_path / "t.parquet", stream=True)


def test_other_processes_read_the_same_files(table):
    data = load(table, stream=True)
    rows = data.X.take(np.arange(5))
    sent = pickle.dumps(data)
    assert len(sent) < 20_000  # and not the rows
    pd.testing.assert_frame_equal(pickle.loads(sent).X.take(np.arange(5)), rows)


def test_the_files_go_with_the_process_and_what_was_left_over_with_the_next(table, tmp_path):
    cache = tmp_path / "cache"
    code = (
        "import os, sys; from dropkit.study.data import load; "
        "data = load(sys.argv[1], stream=True); data.fingerprint; "
        "print(len(list(data.X.scratch.path.iterdir()))); sys.stdout.flush(); "
        "os._exit(0) if sys.argv[2] == 'killed' else None"
    )

    def run(how):
        done = subprocess.run(
            [sys.executable, "-c", code, str(table), how], capture_output=True, text=True,
            env=os.environ | {"DROPKIT_CACHE": str(cache)}, check=True,
        )  # fmt: skip
        assert done.stdout.strip() == "3"
        return sorted(cache.iterdir())

    assert len(run("killed")) == 1
    assert run("ended") == []


def test_a_full_disk_raises_a_data_error(table, monkeypatch):
    data = load(table, stream=True)
    monkeypatch.setattr(Path, "open", _no_room)
    with pytest.raises(DataError, match=r"cannot write rows to .*No space left.*\$DROPKIT_CACHE"):
        _ = data.fingerprint


def _no_room(*_args, **_more):
    raise OSError(28, "No space left on device")


def test_prepared_notes_tell_what_was_read(table):
    study = Study(data=str(table), stream=True, epochs=1, hidden=(4,), methods=("none",))
    prepared = prepare_study(study, load_data(study), "mlp")
    assert prepared.info.rows_train == 300
    assert any("read in pieces" in note for note in prepared.info.notes)


def test_what_needs_all_rows_is_refused_in_pieces(tmp_path):
    frame = pd.DataFrame({"x": range(40), "a": [0, 1] * 20, "b": [1, 1, 0, 0] * 10})
    frame.to_parquet(tmp_path / "rows.parquet")
    for wanted in ({"target": "a,b"}, {"target": "a", "task": "multi-label"}):
        with pytest.raises(DataError, match="several targets need all rows in memory"):
            load(tmp_path / "rows.parquet", stream=True, **wanted)
    data = load(tmp_path / "rows.parquet", stream=True, target="a")
    study = Study(data="rows.parquet", folds=2)
    with pytest.raises(DataError, match="folds need all rows in memory"):
        folds.split_rows(data, study, 0)


@needs_limits
def test_memory_for_a_part_of_the_rows_is_enough(tmp_path, monkeypatch):
    """A table is read, divided and passed over where its 67 MB of features have no room."""
    monkeypatch.setattr(parquet, "PIECE", 8192)
    monkeypatch.setattr(_streamed_table, "_SAMPLE", 2000)
    monkeypatch.setattr(_streamed, "LIMIT", 2000)
    monkeypatch.setattr(folds, "LIMIT", 2000)
    for name, size in (("_BLOCK", 1 << 14), ("_SHUFFLED", 1 << 20), ("_MOST_ROWS", 8192)):
        monkeypatch.setattr(streamed, name, size)
    rng, path, rows = np.random.default_rng(0), tmp_path / "t.parquet", 600_000
    with pyarrow.parquet.ParquetWriter(path, make_numbers(rng, 1).schema) as writer:
        for _ in range(0, rows, 50_000):
            writer.write_table(make_numbers(rng, 50_000))
    load(path, stream=True).X.take(np.arange(9))  # what is imported takes memory, too
    with little_memory(60 << 20):
        data = load(path, stream=True)
        fold = make_fold(data, Study(data=str(path), stream=True), 0)
        assert sum(len(x) for x, _, _ in fold.batches(1024, seed=0)) == rows - 4000


def make_numbers(rng, rows):
    columns = {f"x{i}": rng.normal(size=rows) for i in range(14)}
    return pyarrow.table(columns | {"target": rng.integers(0, 2, rows)})

"""Tables that would mislead: one line that says what to do, and exit code 2."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from helpers.finished_runs import draw_runs, predict_rows, write_csv

RUNS = draw_runs(np.random.default_rng(0), 2, 3)
PREDICTED = predict_rows(np.random.default_rng(0), {"none": 0.2, "l1": 0.1}, range(2), rows=4)


def changed(number: int, **cells: object) -> list[dict[str, object]]:
    return [{**row, **cells} if i == number else row for i, row in enumerate(RUNS)]


CASES = {
    "one method": (RUNS[:3], "", "there is one method, 'none', in column 'method'"),
    "unequal seeds": (RUNS[:-1], "", "unequal seeds: m1 lacks 2; .*--paired.*--unpaired"),
    "a repeated row": (
        [*RUNS, RUNS[0]], "", "line 2 and runs.csv line 8 are the same run, none, seed 0; remove",
    ),
    "a text score": (
        changed(1, test_acc="high"), "--score-column test_acc",
        "must be a number, got 'high' .* line 3",
    ),
    "a text score among others": (
        [{**row, "val_acc": 0.5} for row in changed(1, test_acc="high")],
        "", "must be a number, got 'high' in column 'test_acc', .* line 3",
    ),
    "no numbers": (
        [{**row, "test_acc": "0.9 ± 0.1"} for row in RUNS],
        "", "no column holds only numbers, .*make one of them numeric",
    ),
    "NaN": (changed(2, test_acc="nan"), "", "none, seed 2 has no score .* line 4.*--drop-missing"),
    "infinite": (changed(2, test_acc="inf"), "", "none, seed 2 has no score"),
    "a score too large": (changed(2, test_acc="1e200"), "", "scores must be below 1e100"),
    "columns for methods, of which nobody says what they measure": (
        [{"seed": seed, "none": 0.1 * seed, "l1": 0.2} for seed in range(3)],
        "", "'value', does not show whether higher is better",
    ),
    "an empty score": (changed(2, test_acc=""), "", "none, seed 2 has no score"),
    "an unknown column": (RUNS, "--method-column methd", "no column 'methd' .*'method'"),
    "an unknown score": (
        RUNS, "--score-column tst_acc", "no column 'tst_acc' .*did you mean 'test_acc'",
    ),
    "an unknown baseline": (RUNS, "--baseline nne", "no method 'nne'.*did you mean 'none'"),
    "an unknown direction": (
        [{"method": r["method"], "seed": r["seed"], "value": r["test_acc"]} for r in RUNS],
        "", "'value', does not show whether higher is better: add --higher-is-better or",
    ),
    "several scores": (
        [{**row, "test_f1": 0.5} for row in RUNS],
        "", "several .*test_acc, test_f1; .*--score-column",
    ),
    "a seed that is missing": (changed(1, seed=""), "", "line 3 has no value in column 'seed'"),
    "a method that is missing": (changed(1, method=""), "", "line 3 has no method"),
    "no method": ([{"a": "x", "b": "y"}] * 3, "", "no column with methods was found.*--method"),
    "seeds to pair that are not there": (
        [{k: v for k, v in row.items() if k != "seed"} for row in RUNS],
        "--paired", "pairing needs a column of seeds",
    ),
    "a data set without a method": (
        [{**row, "dataset": d} for d in "ab" for row in RUNS if (d, row["method"]) != ("b", "m1")],
        "", "m1 has no run on data set 'b', and 1 of 2 data sets lack a method: .*--drop-missing",
    ),
    "other test rows": (
        PREDICTED[:-1], "", "l1, seed 1 and the first run predict different test rows",
    ),
    "two predictions for a row": ([*PREDICTED, PREDICTED[-1]], "", "two predictions for one row"),
    "another target": (
        [{**row, "y_true": "c"} if i == 15 else row for i, row in enumerate(PREDICTED)],
        "", "test row 3 has the target 'c' in .* line 17, but 'a' in the first run",
    ),
    "no prediction": (
        [{**row, "y_pred": ""} if i == 15 else row for i, row in enumerate(PREDICTED)],
        "", "line 17 has no value in column 'y_pred'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_table_that_cannot_be_judged(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows, options, message = CASES[case]
    write_csv(Path("runs.csv"), rows)
    check_refused(f"judge runs.csv --out out {options}", message, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.csv"]


FILES = {
    "no file": ("a.csv", None, "no file 'a.csv'"),
    "another kind": ("a.xlsx", b"", "must end in one of .csv"),
    "empty": ("a.csv", b"", "is empty"),
    "a header alone": ("a.csv", b"method,seed,acc\n", "is empty"),
    "two columns of one name": ("a.csv", b"a,a\n1,2\n", "two columns called 'a'"),
    "a row too long": ("a.csv", b"a,b\n1,2\n1,2,3\n", "3 cells in line 3, but 2 columns"),
    "no JSON": ("a.jsonl", b"{", "cannot read a.jsonl"),
    "no objects": ("a.jsonl", b"1\n2\n", "one object for every run"),
    "no Parquet": ("a.parquet", b"PAR1", "cannot be read as Parquet"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name, content, message = FILES[case]
    if content is not None:
        Path(name).write_bytes(content)
    check_refused(f"judge {name}", message, capsys)


def check_refused(command: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert re.search(message, err), err
    assert "add --debug" not in err


def test_missing_runs_and_sets_are_left_out_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {**row, "dataset": d} for d in "abc" for row in RUNS if (d, row["method"]) != ("b", "m1")
    ]
    rows[0] = {**rows[0], "test_acc": "nan"}
    write_csv(Path("runs.csv"), rows)
    assert cli.run(shlex.split("judge runs.csv --drop-missing --paired --json")) == 0
    out = capsys.readouterr().out
    assert '"Left out 1 run that has no score: a, none, seed 0.' in out
    assert '"Left out these data sets, because they lack a method: b."' in out

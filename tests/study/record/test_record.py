"""The record as a file: nothing is lost, old files are read, and damage is named."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dropkit.study import StudyError
from dropkit.study.record import Measure, Record, Tuning
from helpers.fabricated import make_record, make_run

RECORDED = Path(__file__).parents[3] / "benchmarks" / "results"


def test_nothing_is_lost(tmp_path: Path) -> None:
    run = make_run("l1", 0, 1 / 3, val_loss=(1e-7, None, 1e16, 0.1), task="regression")
    record = replace(
        make_record({"none": [0.1], "l1": [0.2]}, task="regression", runs=[run], name="ä \x1b"),
        tuned={"l1": ({"lr": 0.1}, {})},
        tuning={"l1": Tuning(3, 1, 0, 60)},
    )
    assert Record.from_json(record.to_json()) == record
    record.save(tmp_path / "results.json")
    assert Record.load(tmp_path / "results.json") == record
    assert list(json.loads(record.to_json()))[:2] == ["format", "study"]


def test_numbers_of_a_users_own_training_are_kept() -> None:
    bleu = Measure("bleu", "test BLEU", higher_is_better=True)
    record = make_record({"none": [30.1], "l1": [31.2]}, task="other", measure=bleu)
    again = Record.from_json(record.to_json())
    assert again == record
    assert again.data.measure == bleu
    assert again.runs[0].test is not None
    assert (again.runs[0].test.loss, again.runs[0].row_errors) == (None, None)


@pytest.mark.parametrize(
    ("task", "name"), [("classification", "error"), ("regression", "rmse"), ("other", "value")]
)
def test_every_task_has_a_measure(task: str, name: str) -> None:
    assert make_record({"none": [0.1]}, task=task).data.measure.name == name


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_files_of_earlier_versions_are_read(name: str) -> None:
    record = Record.load(RECORDED / f"{name}.json")
    assert record.baseline == "none"
    known = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    assert len(record.runs) == len(known["runs"])
    for run, kept in zip(record.runs, known["runs"], strict=True):
        assert (run.method, run.seed, run.steps) == (kept["method"], kept["seed"], kept["steps"])
        assert list(run.curve.val_loss) == kept["curve"]["val_loss"]
        assert run.test is not None
        assert run.test.value == kept["test"]["value"]


def test_runs_of_a_method_come_in_order_of_their_seeds() -> None:
    record = make_record({"none": [0.1, 0.2, 0.3], "l1": [0.1, 0.2, 0.3]})
    mixed = replace(record, runs=record.runs[::-1])
    assert [run.seed for run in mixed.of("l1")] == [0, 1, 2]
    assert {run.method for run in mixed.of("l1")} == {"l1"}
    assert mixed.of("dropout") == ()


def edited(**changes: Any) -> str:
    return json.dumps(json.loads(make_record({"none": [0.1, 0.2]}).to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not complete results"),
        ("[]", "not complete results"),
        ("{}", "got None"),
        (edited(format="dropkit-results/9"), "got 'dropkit-results/9'; rerun the study"),
        (edited(runs="x"), "not complete results"),
        (edited(methods=[]), "there must be a method"),
        (edited(runs=[{}]), "not complete results"),
    ],
)
def test_what_is_no_record_is_refused(text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Record.from_json(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "pruned"}, "none, seed 0 must be finished or diverged"),
        ({"test": None}, "none, seed 0 must have its scores"),
        ({"row_errors": "AAAA"}, "3 bytes cannot be the losses of 200 test rows"),
        ({"contributions": "AAAA"}, "3 bytes cannot be the losses of 200 test rows"),
    ],
)
def test_a_run_that_no_study_writes_is_refused(changes: dict[str, Any], message: str) -> None:
    record = make_record({"none": [0.1]})
    record = replace(record, runs=(replace(record.runs[0], **changes),))
    with pytest.raises(StudyError, match=message):
        Record.from_json(record.to_json())


@pytest.mark.parametrize("step", [(), (10, 20), (0, 1, 2, 3, 4), (1, 2, 3, 4, 2**63)])
def test_a_curve_has_an_update_count_for_every_epoch(step: tuple[int, ...]) -> None:
    record = make_record({"none": [0.1]})
    run = record.runs[0]
    record = replace(record, runs=(replace(run, curve=replace(run.curve, step=step)),))
    with pytest.raises(StudyError, match="none, seed 0 must have"):
        Record.from_json(record.to_json())


def test_a_file_that_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no results: .*nothing\.json is missing"):
        Record.load(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_bytes(make_record({"none": [0.1]}).to_json()[:500])
    with pytest.raises(
        StudyError, match=r"cannot read .*half\.json: these are not complete results"
    ):
        Record.load(tmp_path / "half.json")


def test_a_record_is_read_without_what_trains_or_reports() -> None:
    code = "import sys, dropkit.study.record; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not {"torch", "scipy", "pandas", "matplotlib", "sklearn", "lightning"} & loaded
    assert not {"dropkit.study.analysis", "dropkit.study.report"} & set(run.stdout.split())

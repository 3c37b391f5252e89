"""A study in folds, from its settings to its report."""

import csv
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results, Run, Study, StudyError, compare
from dropkit.study.analysis import analyze
from dropkit.study.prepare import load_data, read_arrays
from dropkit.study.record.predictions import Predictions
from dropkit.study.report.html import render
from dropkit.study.store.manifest import Manifest
from dropkit.study.training.folds import split_rows
from dropkit.study.training.work import Job, Work
from helpers.fabricated import untimed
from helpers.tiny import no_training, train_nothing, write_table

WORDS = "compare rows.csv --methods none,l1 --epochs 2 --hidden 4 --jobs 1 --out run --folds 3"
SMALL = {"methods": "none,dropout", "seeds": 2, "folds": 3, "epochs": 2, "hidden": (8,), "jobs": 1}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "rows.csv")
    return tmp_path


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=90) > 0).astype(int)


@pytest.fixture(scope="module")
def study(rows: tuple[np.ndarray, np.ndarray]) -> Results:
    return compare(*rows, **SMALL)


@contextmanager
def counted() -> Iterator[list[int]]:
    """What trains nothing, and how many trainings it did."""
    done: list[int] = []

    def train(work: Work, job: Job) -> Run:
        done.append(job.seed)
        return train_nothing(work, job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Work, "__call__", train)
        yield done


def test_every_row_is_tested_once_in_every_repetition(study: Results) -> None:
    for method in study.methods:
        runs = study.of(method)
        assert [run.seed for run in runs] == list(range(6))
        assert [run.test_rows for run in runs] == [30] * 6
    assert study.data.rows_test == 90
    assert (study.data.rows_train, study.data.rows_val) == (42, 18)
    assert study.record.overlap == pytest.approx(30 / 42)


def test_runs_of_one_seed_share_rows_weights_and_batches(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    again = compare(*rows, **{**SMALL, "methods": "none,dropout(p=0,input=0)"})
    plain, same = map(again.of, again.methods)
    for one, other in zip(plain, same, strict=True):
        assert (one.curve, one.test, one.row_errors) == (other.curve, other.test, other.row_errors)
    assert len({run.curve.train_loss for run in plain}) == 6  # each fold starts anew
    assert again.analysis.summaries[1].is_identical


def test_it_resumes_with_equal_numbers(
    rows: tuple[np.ndarray, np.ndarray], study: Results, here: Path
) -> None:
    compare(*rows, **{**SMALL, "seeds": 1, "out": here / "run"})
    first = next((here / "run" / "runs").glob("dropout*-seed1.json"))
    first.unlink()
    before = {file.name: file.read_bytes() for file in (here / "run" / "runs").iterdir()}
    assert len(before) == 5
    resumed = compare(*rows, **{**SMALL, "out": here / "run"})
    assert [replace(run, predictions=None) for run in untimed(resumed).runs] == [
        replace(run, predictions=None) for run in untimed(study).runs
    ]
    for name, content in before.items():
        assert (here / "run" / "runs" / name).read_bytes() == content
    assert resumed.record.looks == (1, 2)
    manifest = Manifest.read(here / "run")
    assert manifest is not None
    assert (manifest.asked, manifest.done) == (12, 12)


def test_workers_beside_each_other_give_equal_numbers(
    rows: tuple[np.ndarray, np.ndarray], study: Results
) -> None:
    assert untimed(compare(*rows, **{**SMALL, "jobs": 2})) == untimed(study)


def test_progress_names_repetition_and_fold(capsys: pytest.CaptureFixture[str]) -> None:
    with no_training():
        assert cli.run([*WORDS.split(), "--seeds", "2"]) == 0
    err = capsys.readouterr().err
    assert "12 trainings: 2 methods × 2 repetitions × 3 folds" in err
    assert "[1/12] none, seed 0 (repetition 1, fold 1): validation error" in err
    assert "[12/12] l1, seed 5 (repetition 2, fold 3): validation error" in err


def test_repetitions_are_added_until_it_is_decided(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS.split(), "--seeds", "1", "--until-decided", "--max-seeds", "2"]
    with counted() as done:
        assert cli.run(words) == 0
        assert cli.run(words) == 0
    out, err = capsys.readouterr()
    assert done == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert "1 repetition of 3 folds has not decided it: going on to 2" in err
    assert "So far the study was analyzed at 1, 2 repetitions" in " ".join(out.split())
    assert Results.load("run").record.looks == (1, 2)


def test_every_fold_is_searched_by_itself() -> None:
    with counted() as done:
        assert cli.run([*WORDS.split(), "--seeds", "1", "--tune", "2"]) == 0
    assert len(done) == 2 * 3 * (2 + 1)
    assert {name: len(each) for name, each in Results.load("run").tuned.items()} == {
        "none": 3,
        "l1": 3,
    }


def test_the_files_say_which_repetition_and_fold() -> None:
    with no_training():
        assert cli.run([*WORDS.split(), "--seeds", "2"]) == 0
    with Path("run/results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    places = [(line["seed"], line["repetition"], line["fold"]) for line in lines[:6]]
    assert places == [(str(s), str(1 + s // 3), str(1 + s % 3)) for s in range(6)]
    stored = json.loads(Path("run/results.json").read_text())
    assert stored["study"]["folds"] == 3
    assert stored["overlap"] == pytest.approx(20 / 28)
    assert "--folds 3" in stored["command"]
    assert Results.load("run").record.folds == 3


def test_another_number_of_folds_is_another_study(capsys: pytest.CaptureFixture[str]) -> None:
    with no_training():
        assert cli.run([*WORDS.split(), "--seeds", "1"]) == 0
        capsys.readouterr()
        assert cli.run([*WORDS.split()[:-1], "4", "--seeds", "1"]) == 2
    assert "folds is 3 there and 4 here" in capsys.readouterr().err
    shutil.rmtree("run")
    plain = Study(data="rows.csv")
    assert "folds" not in plain.identity()  # what was stored without folds stays valid


def test_predictions_are_kept_with_the_rows_they_are_for(
    rows: tuple[np.ndarray, np.ndarray], here: Path
) -> None:
    results = compare(*rows, **{**SMALL, "out": here / "run"})
    kept = Predictions.load(here / "run")
    assert len(kept.targets) == 90
    asked = Study.from_dict(results.study)
    for run in results.of("none"):
        seed, parts = run.seed, split_rows(load_data(asked), asked, run.seed)
        np.testing.assert_array_equal(kept.rows[seed], parts.test)
        wrong = kept.predicted["none", seed].argmax(1) != kept.targets_of(seed)
        assert run.test is not None
        assert wrong.mean() == pytest.approx(run.test.value)
    by_log_loss = results.by_metric("log-loss", here / "run")
    for run, again in zip(results.runs, by_log_loss.runs, strict=True):
        assert run.test is not None
        assert again.test is not None
        assert again.test.value == pytest.approx(run.test.loss, rel=1e-5)
    assert by_log_loss.record.overlap == results.record.overlap
    page = render(results.analysis, kept)
    assert "Predictions for the test rows" in page


def test_numbers_are_predicted_in_folds_too(here: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    y = X[:, 0] + 0.1 * rng.normal(size=60)
    results = compare(X, y, task="regression", **{**SMALL, "out": here / "run"})
    kept = Predictions.load(here / "run")
    for run in results.of("dropout"):
        error = kept.predicted["dropout", run.seed] - kept.targets_of(run.seed)
        assert run.test is not None
        assert math.sqrt((error**2).mean()) == pytest.approx(run.test.value, rel=1e-4)
    assert "Predicted against true values" in render(results.analysis, kept)


def test_the_constant_answer_is_scored_on_every_fold(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    X, _ = rows
    y = X[:, 1].astype(float) * 10
    results = compare(X, y, task="regression", **{**SMALL, "seeds": 1, "methods": "none,l1"})
    study = Study.from_dict({**results.study, "data": "arrays"})
    data = read_arrays(study, X, y)
    parts = [split_rows(data, study, seed) for seed in range(3)]
    expected = np.mean(
        [math.sqrt(((data.y[p.test] - data.y[p.train].mean()) ** 2).mean()) for p in parts]
    )
    assert results.data.constant_value == pytest.approx(expected, rel=1e-5)


def test_copies_in_other_folds_are_the_headline(here: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2)).round(3)
    lines = [
        f"{a},{b},{'yes' if a > 0 else 'no'},{i}" for i, (a, b) in enumerate(x) for _ in (0, 1)
    ]
    (here / "twice.csv").write_text("\n".join(["a,b,target,who", *lines]) + "\n")
    words = ["twice.csv" if word == "rows.csv" else word for word in WORDS.split()]
    with no_training():
        assert cli.run([*words[:-4], "--out", "free", "--folds", "3", "--seeds", "1"]) == 0
        grouped = [*words[:-4], "--out", "grouped", "--folds", "3", "--group", "who"]
        assert cli.run([*grouped, "--seeds", "1"]) == 0
    headline = Results.load("free").analysis.verdict.headline
    assert "rows are also among the training rows of the folds that test them" in headline
    assert Results.load("grouped").data.doubts == ()


def test_the_report_is_about_training_and_test_rows(study: Results) -> None:
    page = render(study.analysis)
    assert "42 training, 18 validation rows in a fold" in page
    assert "all 90 rows tested" in page
    assert "2 repetitions of 3 folds, paired" in page
    assert "the choice of seeds, training rows and test rows" in page
    assert "on these test rows alone" not in page
    assert "<dt>test_fraction</dt>" not in page
    for line in study.analysis.lines:
        assert "on these" not in line
        assert "not for other training data" not in line


def test_a_record_of_folds_is_kept_whole(study: Results, here: Path) -> None:
    study.save(here / "results.json")
    assert Results.load(here / "results.json") == study
    assert analyze(Results.load(here / "results.json").record) == study.analysis


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--folds 1", "folds must be at least 2, got 1"),
        ("--folds many", "'--folds'"),
        ("--fold 5", "No such option: --fold"),
        ("--folds 200000", "folds must be so few that seeds times folds is at most 100000"),
        ("--folds 5 --split time", "a split by time tests the last rows, and folds test every row"),
        ("--folds 5 --time a", "a split by time tests the last rows"),
        ("--folds 5 --test rows.csv", "rows.csv is a fixed test set, and folds test every row"),
        ("--folds 5 --test-fraction 0.3", "leave out --folds or --test-fraction"),
        ("--folds 2 --val-fraction 0.5", "val_fraction must be less than"),
        ("--folds 40", "of target 'target' has"),
    ],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    assert cli.run(["compare", "rows.csv", "--epochs", "1", "--jobs", "1", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("dropkit-runs").exists()


def test_the_nearest_name_is_offered(rows: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(StudyError, match="no setting 'fold': did you mean 'folds'"):
        compare(*rows, fold=5)
    with pytest.raises(StudyError, match="has a fixed test set"):
        compare(*rows, X_test=rows[0][:9], y_test=rows[1][:9], folds=5, jobs=1)


def test_a_share_that_the_folds_have_anyway_is_taken() -> None:
    assert Study(data="digits", folds=4, test_fraction=0.25).test_share == 0.25
    assert Study(data="digits", folds=10).test_share == 0.1
    assert Study(data="digits").test_share == 0.2


@pytest.mark.parametrize("task", ["multi-label", "multi-output"])
def test_several_targets_are_tested_in_folds(task: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 4)).astype(np.float32)
    values = X[:, :3] + 0.5 * rng.normal(size=(90, 3))
    y = (values > 0.3).astype(int) if task == "multi-label" else values
    results = compare(X, y, task=task, **SMALL)
    assert [run.status for run in results.runs] == ["finished"] * 12
    assert results.record.data.rows_test == 90
    assert [run.test_rows for run in results.runs] == [30] * 12
    assert render(results.analysis)


def test_inspect_shows_the_first_fold(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", "rows.csv", "--folds", "3"]) == 0
    assert "training 28, validation 12, test 20 rows in the first of 3 folds" in " ".join(
        capsys.readouterr().out.split()
    )

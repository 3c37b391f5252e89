"""The number of epochs is doubled until that helps no method."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from dropkit import cli
from dropkit.study import Results, Run, Study
from dropkit.study.training.guard import Failed
from dropkit.study.training.work import Job, Work
from helpers.tiny import train_nothing, write_table

WORDS = "compare rows.csv --methods none,l1 --epochs 3 --hidden 4 --jobs 1 --out run --seeds 2"
FOUND = [*WORDS.split(), "--until-converged"]

Trained = list[tuple[str, int | None, int]]


@contextmanager
def losing(loss: Callable[[str, int], float]) -> Iterator[Trained]:
    """Trainings whose validation loss depends on the method and the epochs alone."""
    trained: Trained = []

    def train(work: Work, job: Job) -> Run:
        assert isinstance(work.study, Study)
        epochs = work.study.epochs or 0
        trained.append((str(job.method), job.trial, epochs))
        run = train_nothing(work, job)
        assert run.val is not None
        return replace(run, val=replace(run.val, loss=loss(str(job.method), epochs)))

    with patch.object(Work, "__call__", train):
        yield trained


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "rows.csv")


def slow_l1(method: str, epochs: int) -> float:
    """``l1`` gains up to 6 epochs, the baseline never does."""
    return 0.5 if method == "none" or epochs >= 6 else 1.0


def test_the_slowest_method_decides_for_all() -> None:
    with losing(slow_l1) as trained:
        assert cli.run(FOUND) == 0
    tried = [(epochs, method) for method, trial, epochs in trained if trial is not None]
    assert tried == [(epochs, method) for epochs in (3, 6, 12) for method in ("none", "l1")]
    assert {epochs for _, trial, epochs in trained if trial is None} == {6}
    results = Results.load("run")
    assert results.record.study["epochs"] == 6
    note = "all methods train for 6 epochs: 12 lower no method's validation loss by more than 2%"
    assert note in results.record.data.notes


def test_the_search_never_scores_test_rows() -> None:
    with losing(slow_l1):
        assert cli.run(FOUND) == 0
    files = list(Path("run/budgets").rglob("trials/*.json"))
    assert len(files) == 6
    assert all(json.loads(file.read_text())["run"]["test"] is None for file in files)


def test_it_ends_at_eight_times_the_first_budget_and_says_who_may_gain() -> None:
    with losing(lambda method, epochs: 1 / epochs if method == "l1" else 0.5) as trained:
        assert cli.run(FOUND) == 0
    assert max(epochs for *_, epochs in trained) == 24
    (note,) = (n for n in Results.load("run").record.data.notes if "24 epochs" in n)
    assert "l1 may gain from more: start from --epochs 24" in note


def test_a_gain_of_two_percent_is_none() -> None:
    with losing(lambda method, epochs: {3: 1.0, 6: 0.981}.get(epochs, 0.5)) as trained:
        assert cli.run(FOUND) == 0
    assert max(epochs for *_, epochs in trained) == 6
    assert Results.load("run").record.study["epochs"] == 3


def test_what_is_found_is_kept_when_a_study_is_resumed() -> None:
    with losing(slow_l1):
        assert cli.run(FOUND) == 0
    with losing(slow_l1) as trained:
        assert cli.run([*FOUND[:-3], "--seeds", "3", "--until-converged"]) == 0
    assert sorted(trained) == [("l1", None, 6), ("none", None, 6)]


def test_other_methods_are_another_study(capsys: pytest.CaptureFixture[str]) -> None:
    """A slower method would need more epochs than those that are trained already."""
    with losing(slow_l1):
        assert cli.run(FOUND) == 0
        words = [word.replace("none,l1", "none,l1,early-stopping") for word in FOUND]
        assert cli.run(words) == 2
    assert "run holds another study: methods is" in capsys.readouterr().err


def test_a_failing_method_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(work: Work, job: Job) -> Run | Failed:
        return Failed("no memory") if str(job.method) == "l1" else train_nothing(work, job)

    with patch.object(Work, "__call__", fail):
        assert cli.run(FOUND) == 2
    said = capsys.readouterr().err
    assert "the number of epochs cannot be found (l1 with 3 epochs: no memory)" in said


def test_the_numbers_are_those_of_a_study_with_the_epochs_found(tmp_path: Path) -> None:
    assert cli.run(FOUND) == 0
    found = Results.load("run")
    epochs = str(found.record.study["epochs"])
    words = [{"3": epochs, "run": "same"}.get(word, word) for word in WORDS.split()]
    assert cli.run(words) == 0
    assert [(run.test, run.curve.val_loss) for run in found.runs] == [
        (run.test, run.curve.val_loss) for run in Results.load("same").runs
    ]


def test_settings_of_other_studies_keep_their_identity() -> None:
    plain = Study(data="rows.csv")
    assert "until_converged" not in plain.identity()
    assert "methods" not in plain.identity()
    assert "methods" in replace(plain, until_converged=True).identity()

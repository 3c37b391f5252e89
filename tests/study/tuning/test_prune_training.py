"""Pruning in a training of a user's own: by the losses that it logs, where its epochs end."""

import json
from pathlib import Path
from typing import Any

import pytest

from dropkit.cli import run as dropkit
from dropkit.study import Results, StudyError, compare_training
from dropkit.study.limits import DRAWN
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.pruning import falls_behind
from dropkit.study.training_study import TrainingStudy
from dropkit.study.tuning.median import limits
from helpers.fabricated import untimed
from helpers.training import write_training

EPOCHS = 5
BODY = f"""
model = begin(run)
share = run.suggest("share", 0.1, 0.4, default=0.3)
for epoch in run.epochs({EPOCHS}):
    run.log(val_loss=share + np.cos(40 * share) / (epoch + 1))
return outcome(run, share)
"""
SETTINGS: dict[str, Any] = {"methods": "as-is,dropout", "seeds": 1, "tune": 18, "prune": True}


@pytest.fixture
def studied(tmp_path: Path) -> tuple[str, Results, Path]:
    name, out = write_training(tmp_path, BODY), tmp_path / "run"
    return name, compare_training(name, **SETTINGS, out=out, jobs=1), out


def test_trials_end_where_the_rule_says(studied: tuple[str, Results, Path]) -> None:
    _, results, out = studied
    folder, pruned = RunFolder.of(out), 0
    for method in folder.study.method_names:
        found = [folder.load(method, 0, number) for number in range(18)]
        runs = [run for run in found if run is not None]
        for number, run in enumerate(runs):
            losses = [loss for loss in run.curve.val_loss if loss is not None]
            allowed = limits(runs[:number], EPOCHS) if number >= DRAWN else ()
            ends = [e for e in range(1, len(losses) + 1) if falls_behind(losses[:e], allowed)]
            assert ends == ([len(losses)] if run.status == "pruned" else [])
            assert run.status == "pruned" or len(losses) == EPOCHS
            assert (run.val, run.test) == (None, None)
        tuning = results.tuning[method]
        assert tuning.pruned == sum(run.status == "pruned" for run in runs)
        assert tuning.epochs == sum(len(run.curve.step) for run in runs)
        pruned += tuning.pruned
    assert pruned >= 3
    assert "unequal epochs" in {alert.kind for alert in results.analysis.alerts}


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_numbers_resumed_and_side_by_side(
    jobs: int, studied: tuple[str, Results, Path]
) -> None:
    name, results, out = studied
    whole = {file.name: json.loads(file.read_text()) for file in (out / "trials").iterdir()}
    for number in (2, 11, 15):
        for file in (out / "trials").glob(f"*-trial{number}.json"):
            file.unlink()
    again = compare_training(name, **SETTINGS, out=out, jobs=jobs)
    assert untimed(again) == untimed(results)
    for file, content in whole.items():
        there = json.loads((out / "trials" / file).read_text())["run"]
        assert {**there, "timing": 0} == {**content["run"], "timing": 0}


@pytest.mark.parametrize(
    "loop", ["for epoch in range(5):\n    run.log(val_loss=1.0)", "run.log(val_loss=1.0)"]
)
def test_what_has_no_epochs_cannot_be_pruned(
    loop: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_training(tmp_path, f"begin(run)\n{loop}\nreturn outcome(run, 0.1)")
    words = ["compare", name, "--tune", "12", "--prune", "--jobs", "1"]
    assert dropkit([*words, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pruning ends trials between epochs: train for two or more" in line


def test_it_makes_another_study_and_its_absence_none() -> None:
    plain, pruned = (TrainingStudy(train="a.py:f", tune=20, prune=p) for p in (False, True))
    assert plain.digest() != pruned.digest()
    assert "prune" not in plain.identity()  # so that earlier folders go on
    with pytest.raises(StudyError, match=r"prune needs tune above 10, .*; got tune=10"):
        TrainingStudy(train="a.py:f", tune=10, prune=True)

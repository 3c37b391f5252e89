"""A finished study by another metric, without training."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results, StudyError, compare
from dropkit.study.record import predictions
from dropkit.study.record.predictions import FILE, Predictions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
CLASSES = (X[:, 0] + RNG.normal(size=200) > 0).astype(int)
NUMBERS = 100 + 7 * X[:, 0] + RNG.normal(size=200)
SMALL = {"methods": "none,dropout+l1", "seeds": 2, "epochs": 3, "hidden": (4,), "jobs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "run"
    compare(X, CLASSES, out=path, **SMALL)  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("metric", ["auc", "balanced-error", "log-loss"])
def test_the_values_are_those_of_a_study_made_for_the_metric(folder: Path, metric: str) -> None:
    asked = compare(X, CLASSES, metric=metric, **SMALL)  # type: ignore[arg-type]
    found = Results.load(folder).by_metric(metric, folder)
    assert found.data.measure == asked.data.measure
    for ours, theirs in zip(found.runs, asked.runs, strict=True):
        assert ours.test is not None
        assert theirs.test is not None
        assert ours.test.value == pytest.approx(theirs.test.value, rel=1e-5)
    assert "was chosen after the study, which compared the test error" in str(found)


def test_values_of_a_regression_are_in_their_own_units(tmp_path: Path) -> None:
    results = compare(X, NUMBERS, out=tmp_path / "run", **SMALL)  # type: ignore[arg-type]
    kept = Predictions.load(tmp_path / "run")
    assert 90 < kept.targets.mean() < 110
    for run in results.runs:
        assert run.test is not None
        errors = kept.predicted[run.method, run.seed] - kept.targets
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(run.test.value, rel=1e-4)
    again = results.by_metric("rmse", tmp_path / "run")
    for ours, theirs in zip(again.runs, results.runs, strict=True):
        assert ours.test is not None
        assert theirs.test is not None
        assert ours.test.value == pytest.approx(theirs.test.value, rel=1e-5)


def test_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "results.json").read_bytes()
    assert cli.run(["report", str(folder), "--metric", "auc"]) == 0
    out = capsys.readouterr().out
    assert "AUC" in out
    assert "AUC" in (folder / "auc" / "report.html").read_text()
    assert (folder / "results.json").read_bytes() == before
    assert Results.load(folder).data.measure.name == "error"


def test_the_report_is_opened_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert cli.run(["report", str(folder)]) == 0
    assert opened == []
    assert cli.run(["report", str(folder), "--open"]) == 0
    assert opened == [(folder / "report.html").resolve().as_uri()]


def test_numpy_alone_reads_the_file(folder: Path) -> None:
    with np.load(folder / FILE) as file:
        assert set(file["targets"].tolist()) == {0, 1}
        of_one = file["dropout+l1, seed 1"]
    np.testing.assert_allclose(np.exp(of_one).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("metric", "message"),
    [("acu", "did you mean 'auc'"), ("mae", "the metric mae is not for classification")],
)
def test_a_metric_that_does_not_fit(folder: Path, metric: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Results.load(folder).by_metric(metric, folder)


def test_without_predictions_it_says_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / FILE).write_bytes(b"no archive")
    with pytest.raises(StudyError, match="cannot read"):
        Results.load(copy).by_metric("auc", copy)
    (copy / FILE).unlink()
    with pytest.raises(StudyError, match="compare again with --metric"):
        Results.load(copy).by_metric("auc", copy)
    monkeypatch.setattr(predictions, "MOST", 10)
    compare(X, CLASSES, out=tmp_path / "big", **SMALL)  # type: ignore[arg-type]
    assert not (tmp_path / "big" / FILE).exists()

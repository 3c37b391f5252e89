"""A study of several targets, labels or numbers, from a table to its report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from dropkit import cli
from dropkit.study import Results, Study, StudyError, compare, inspect
from dropkit.study.analysis.pairs import measure_pair
from dropkit.study.data import from_arrays
from dropkit.study.methods.catalogue import METHODS
from dropkit.study.prepare import prepare_study
from dropkit.study.record import unpack_rows
from dropkit.study.record.predictions import Predictions
from dropkit.study.training.folds import make_fold, split_rows

RNG = np.random.default_rng(0)
COUNT = 300
X = RNG.normal(size=(COUNT, 4)).astype(np.float32)
NOISE = 0.2 * RNG.normal(size=(COUNT, 3))
NUMBERS = (X[:, :3] + NOISE) * [1, 1000, 0.01] + [0, 5000, 7]
LABELS = (X[:, :3] + NOISE > [0, 0.8, -0.5]).astype(int)
TARGETS = {"multi-output": NUMBERS, "multi-label": LABELS}
SMALL = {"methods": "none,dropout", "seeds": 2, "epochs": 8, "hidden": (16,), "jobs": 1}


def write_table(path: Path, y: np.ndarray) -> Path:
    frame = pd.DataFrame(X, columns=list("pqrs")).assign(a=y[:, 0], b=y[:, 1], c=y[:, 2])
    if y is LABELS:
        frame = frame.assign(a=np.where(y[:, 0], "yes", "no"), b=y[:, 1] > 0)
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module", params=TARGETS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study that the command line made, in a folder called as its task."""
    path = tmp_path_factory.mktemp("several") / request.param
    table = write_table(path.parent / "table.csv", TARGETS[request.param])
    words = "--target a,b,c --methods none,dropout --seeds 2 --epochs 8 --hidden 16 --jobs 1"
    assert cli.run(["compare", str(table), *words.split(), "--out", str(path)]) == 0
    return path


SHOWN = {
    "multi-output": ("rmse", "test standardized RMSE", "each target's mean", "standard deviation"),
    "multi-label": (
        "error",
        "test label error",
        "each label's most frequent value",
        "test rows with this label",
    ),
}
OTHERS = {
    "multi-output": ("mae", "r2", "pinball(0.9)"),
    "multi-label": ("subset-error", "f1-macro", "f1-micro", "auc", "log-loss", "brier"),
}


def test_the_record_says_what_was_predicted(folder: Path) -> None:
    results, y = Results.load(folder), TARGETS[folder.name]
    name, label, _, _ = SHOWN[folder.name]
    data = results.data
    assert (data.task, data.targets, data.outputs) == (folder.name, ("a", "b", "c"), 3)
    assert (data.measure.name, data.measure.label) == (name, label)
    assert data.target == "a, b, c"
    kept = Predictions.load(folder)
    parts = split_rows(from_arrays(X, y), Study(data="arrays"), 0)
    np.testing.assert_allclose(kept.targets, y[parts.test], rtol=1e-5)
    for run in results.runs:
        assert run.test is not None
        rows = unpack_rows(run.row_errors or "", data.task, data.rows_test)
        mean = rows.mean() if folder.name == "multi-label" else np.sqrt(rows.mean())
        assert mean == pytest.approx(run.test.value, rel=1e-5)
        found = kept.predicted[run.method, run.seed].astype(float)
        if folder.name == "multi-label":
            expected = sk.hamming_loss(kept.targets, np.exp(found) > 0.5)
        else:
            errors = (found - kept.targets) / np.array(data.units)
            expected = np.sqrt(np.mean(errors**2))
        assert run.test.value == pytest.approx(expected, rel=1e-4)


def test_the_constant_answer_is_by_hand(folder: Path) -> None:
    results, y = Results.load(folder), TARGETS[folder.name]
    parts = split_rows(from_arrays(X, y), Study(data="arrays"), 0)
    train, test = y[parts.train], y[parts.test]
    if folder.name == "multi-label":
        expected = np.mean(test != (train.mean(0) > 0.5))
    else:
        units = y[np.sort(np.concatenate([parts.train, parts.val]))].std(0)
        assert results.data.units == pytest.approx(units)
        expected = np.sqrt(np.mean(((test - train.mean(0)) / units) ** 2))
    assert results.data.constant_value == pytest.approx(expected, rel=1e-5)


def test_the_report_shows_every_target(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(folder)]) == 0
    _, label, constant, size = SHOWN[folder.name]
    out = " ".join(capsys.readouterr().out.split())
    assert f"always {' '.join(constant.split()[:2])}" in out  # the terminal may wrap the name
    page = (folder / "report.html").read_text()
    for words in (
        label,
        constant,
        size,
        f"Errors by {folder.name[6:].replace('output', 'target')}",
    ):
        assert words in page
    assert "Predicted against true values" not in page
    assert "Accuracy by confidence" not in page
    assert ("calibration" in page) == (folder.name == "multi-label")


def test_it_is_judged_again_by_other_metrics(folder: Path) -> None:
    y = TARGETS[folder.name]
    for metric in OTHERS[folder.name]:
        again = Results.load(folder).by_metric(metric, folder)
        asked = compare(X, y, metric=metric, **SMALL)  # type: ignore[arg-type]
        assert again.data.measure == asked.data.measure
        for ours, theirs in zip(again.runs, asked.runs, strict=True):
            assert ours.test is not None
            assert theirs.test is not None
            assert ours.test.value == pytest.approx(theirs.test.value, rel=1e-3)


def test_its_study_file_repeats_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((folder / "results.json").read_text())
    assert cli.run(["compare", str(folder / "study.toml"), "--out", str(folder)]) == 0
    after = json.loads((folder / "results.json").read_text())
    assert after["runs"] == before["runs"]
    assert "--target a,b,c" in before["command"]
    capsys.readouterr()


@pytest.mark.parametrize("task", TARGETS)
def test_nothing_is_learned_of_targets_that_were_shuffled(task: str) -> None:
    y = TARGETS[task]
    settings = SMALL | {"methods": "none", "epochs": 40}
    shuffled = np.random.default_rng(1).permutation(y)
    for given, learns in ((y, True), (shuffled, False)):
        results = compare(X, given, **settings)  # type: ignore[arg-type]
        constant = results.data.constant_value
        assert constant is not None
        values = [run.test.value for run in results.runs if run.test]
        if learns:
            assert max(values) < 0.6 * constant
        else:
            assert min(values) > 0.9 * constant


def test_one_column_is_a_plain_regression_but_for_its_units() -> None:
    settings = SMALL | {"methods": "none,dropout,ensemble(members=2)", "epochs": 3}
    plain = compare(X, NUMBERS[:, 1], **settings)  # type: ignore[arg-type]
    one = compare(X, NUMBERS[:, 1:2], task="multi-output", **settings)  # type: ignore[arg-type]
    (unit,) = one.data.units
    for ours, theirs in zip(one.runs, plain.runs, strict=True):
        assert ours.curve.train_loss == theirs.curve.train_loss
        assert ours.curve.val_loss == theirs.curve.val_loss
        assert ours.test is not None
        assert theirs.test is not None
        assert ours.test.loss == theirs.test.loss
        assert ours.test.value == pytest.approx(theirs.test.value / unit, rel=1e-9)
    assert one.data.constant_value == pytest.approx(plain.data.constant_value / unit)
    effects = [measure_pair(each.record, "dropout", "none") for each in (one, plain)]
    assert effects[0] is not None
    assert effects[1] is not None
    assert effects[0].mean == pytest.approx(effects[1].mean / unit)
    assert effects[0].row_variance == pytest.approx(effects[1].row_variance / unit**2, rel=1e-4)


def test_units_do_not_know_the_test_rows() -> None:
    study = Study(data="arrays")
    test = split_rows(from_arrays(X, NUMBERS), study, 0).test
    changed = NUMBERS.copy()
    changed[test] += 1e-9 * changed[test]  # the order, and so the division, stays
    widened = from_arrays(X, NUMBERS)
    widened.y[test] *= 1e6
    before = make_fold(from_arrays(X, NUMBERS), study, 0)
    # Rows are divided by y, so the same division is asked for with the wide values put in later.
    from dropkit.study.training import folds

    parts = split_rows(from_arrays(X, NUMBERS), study, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "split_in_memory", lambda *_: parts)
        after = make_fold(widened, study, 0)
    assert after.units == before.units
    torch.testing.assert_close(after.y_train, before.y_train)
    assert not torch.equal(after.y_test, before.y_test)


def test_methods_that_do_not_apply_are_refused_by_name() -> None:
    refused: dict[str, dict[str, str]] = {task: {} for task in TARGETS}
    for task, y in TARGETS.items():
        data = from_arrays(X, y)
        for method in METHODS:
            study = Study(data="arrays", methods=(method,), hidden=(8, 8), epochs=1)  # type: ignore[arg-type]
            try:
                prepare_study(study, data, "mlp")
            except StudyError as error:
                if "multi-" in str(error):
                    refused[task][method] = str(error)
    assert all(line.startswith(name) for found in refused.values() for name, line in found.items())
    assert {task: set(found) for task, found in refused.items()} == {
        "multi-output": {"r-drop", "dropout-ridge"},
        "multi-label": {"r-drop", "dropout-ridge", "explicit-dropout"},
    }


def wide(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs[0], outputs + 1))


def squeezed(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs[0], outputs), nn.Sigmoid())


def test_a_users_model_gets_the_number_of_outputs() -> None:
    told = []

    def make(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        told.append(outputs)
        return nn.Linear(inputs[0], outputs)

    compare(X, LABELS, model=make, **SMALL | {"epochs": 1, "methods": "none"})  # type: ignore[arg-type]
    assert set(told) == {3}
    for y, each in ((LABELS, "label"), (NUMBERS, "target")):
        with pytest.raises(
            StudyError, match=rf"3 outputs per row \(one per {each}\), shape \(2, 3"
        ):
            compare(X, y, model=wide, **SMALL)  # type: ignore[arg-type]
    plain = Study(data="arrays", methods=("none",))  # type: ignore[arg-type]
    notes = prepare_study(plain, from_arrays(X, LABELS), squeezed).info.notes
    assert any("ends in Sigmoid, which returns probabilities" in note for note in notes)
    notes = prepare_study(plain, from_arrays(X, NUMBERS), squeezed).info.notes
    assert any("ends in Sigmoid, which predicts only numbers from 0 to 1" in note for note in notes)


def test_inspect_shows_every_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(str(write_table(tmp_path / "t.csv", LABELS)), target=["a", "b", "c"])
    assert found.labels == tuple(zip("abc", LABELS.sum(0).tolist(), strict=True))
    assert f"labels: a {100 * LABELS[:, 0].mean():.1f} % ({LABELS[:, 0].sum()})" in str(found)
    assert "multi-label classification of a, b, c" in str(found)
    table = write_table(tmp_path / "n.csv", NUMBERS)
    page = tmp_path / "n.html"
    words = ["inspect", str(table), "--target", "a,b,c", "--html", str(page)]
    assert cli.run(words) == 0
    assert "targets: a " in capsys.readouterr().out
    assert "multi-output regression of a, b, c" in page.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "a,p"], "target 'a' holds labels and 'p' does not"),
        (["--target", "a,b,c", "--metric", "balanced-error"], "is not for multi-label class"),
        (["--target", "a,b,c", "--loss", "cross-entropy"], "is not for multi-label"),
        (
            ["--target", "a,b,c", "--methods", "none,r-drop"],
            "r-drop does not fit the data and the model",
        ),
        (["--target", "a,b,c", "--task", "multi-lable"], "multi-label"),
    ],
)
def test_what_does_not_fit_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write_table(tmp_path / "t.csv", LABELS)
    code = cli.run(["compare", str(table), *options, "--out", str(tmp_path / "run")])
    err = " ".join(capsys.readouterr().err.split())
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "results.json").exists()


def test_targets_are_listed_in_a_study_file(tmp_path: Path) -> None:
    study = Study.from_dict({"data": "t.csv", "target": ["a", "b,c"]})
    assert study.target == 'a,"b,c"'
    file = tmp_path / "study.toml"
    file.write_text(study.to_toml())
    assert Study.from_toml(file) == study

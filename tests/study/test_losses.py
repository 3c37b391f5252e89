"""Losses by name, a user's own, and class weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dropkit.study import Study, StudyError, compare
from dropkit.study.data import from_arrays
from dropkit.study.losses import LOSSES, load_loss
from dropkit.study.prepare import prepare_study
from dropkit.study.tasks import TASKS
from dropkit.study.training.folds import make_fold
from dropkit.study.training.losses import make_loss
from dropkit.study.training.updates import plain_recipe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3)).astype(np.float32)
RARE = (np.arange(100) % 10 == 0).astype(int)
LABELS = np.stack([RARE, np.arange(100) % 4 == 1], 1).astype(int)
OF_TASKS = {
    "classification": RARE,
    "regression": X[:, 0].astype(float),
    "multi-label": LABELS,
    "multi-output": X[:, :2].astype(float),
}
OUTPUTS = torch.tensor([[2.0, 1.0], [0.5, -1.0], [0.0, 3.0]])
CLASSES = torch.tensor([0, 1, 1])


def prepared(y: np.ndarray, **settings: object) -> object:
    study = Study(data="arrays", epochs=1, hidden=(4,), **{"methods": ("none",), **settings})  # type: ignore[arg-type]
    return prepare_study(study, from_arrays(X, y), "mlp")


def test_named_losses_are_torchs() -> None:
    smooth = load_loss("cross-entropy(label_smoothing=0.1)", "classification")
    expected = F.cross_entropy(OUTPUTS, CLASSES, label_smoothing=0.1)
    assert smooth(OUTPUTS, CLASSES) == expected
    x, y = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.0])
    for name in ("smooth-l1", "smooth_l1_loss", "Smooth-L1"):
        assert load_loss(name, "regression")(x, y) == F.smooth_l1_loss(x, y)


@pytest.mark.parametrize("task", TASKS)
def test_every_named_loss_trains(task: str) -> None:
    for name in LOSSES[TASKS[task].predicts]:
        prepared(OF_TASKS[task], loss=name)


def test_balanced_classes_count_alike() -> None:
    study = Study(data="arrays", class_weights="balanced")
    fold = make_fold(from_arrays(X, RARE), study, 0)
    loss = make_loss(plain_recipe(study), fold)
    assert loss.weights is not None
    outputs = torch.zeros(len(fold.y_train), 2)
    outputs[:, 0] = 5.0  # sure of the frequent class
    reported, minimized = loss(outputs, fold.y_train)
    each = [
        F.cross_entropy(outputs[fold.y_train == c], fold.y_train[fold.y_train == c]) for c in (0, 1)
    ]
    torch.testing.assert_close(minimized, (each[0] + each[1]) / 2)
    torch.testing.assert_close(reported, F.cross_entropy(outputs, fold.y_train))
    counts = torch.bincount(fold.y_train)
    torch.testing.assert_close(
        (loss.weights(fold.y_train) * counts).sum(), torch.tensor(float(len(fold.y_train)))
    )


def test_both_answers_of_a_label_count_alike() -> None:
    study = Study(data="arrays", class_weights="balanced")
    fold = make_fold(from_arrays(X, LABELS), study, 0)
    outputs, target = torch.randn(len(fold.y_train), 2), fold.y_train
    reported, minimized = make_loss(plain_recipe(study), fold)(outputs, target)
    of_each = F.binary_cross_entropy_with_logits(outputs, target, reduction="none")
    means = [of_each[target[:, i] == held, i].mean() for i in (0, 1) for held in (0, 1)]
    torch.testing.assert_close(minimized, torch.stack(means).mean())
    torch.testing.assert_close(reported, of_each.mean())


def test_a_loss_of_ones_own_is_what_is_trained(tmp_path: Path) -> None:
    file = tmp_path / "loss.py"
    file.write_text("def nothing(outputs, targets): return 0 * outputs.sum()\n")
    results = compare(
        X, RARE, methods="none", seeds=1, epochs=3, jobs=1, hidden=(4,), loss=f"{file}:nothing"
    )
    losses = results.runs[0].curve.val_loss
    assert len(set(losses)) == 1  # no update has moved a weight
    assert losses[0] is not None
    assert losses[0] > 0  # cross-entropy is reported all the same


@pytest.mark.parametrize(
    ("y", "settings", "message"),
    [
        (RARE, {"loss": "cros-entropy"}, "did you mean 'cross-entropy'"),
        (RARE, {"loss": "huber"}, "loss huber is not for classification"),
        (RARE, {"loss": "cross-entropy(smoothing=1)"}, "did you mean 'label_smoothing'"),
        (RARE, {"loss": "gone.py:loss"}, "no file 'gone.py'"),
        (X[:, 0], {"class_weights": "balanced"}, "are for classes, and this is a regression"),
        (
            X[:, :2],
            {"class_weights": "balanced"},
            "are for classes, and this is a multi-output regression",
        ),
        (LABELS, {"loss": "cross-entropy(label_smoothing=0.1)"}, "is not for multi-label"),
        (LABELS, {"loss": "binary-cross-entropy-with-logits(pos_weight=2)"}, "no argument"),
        (
            RARE,
            {"loss": "l.py:rows", "class_weights": "balanced"},
            "weight the classes in your own",
        ),
        (RARE, {"loss": "l.py:rows"}, "must be one number as a tensor"),
        (RARE, {"loss": "l.py:number"}, "must be one number as a tensor"),
        (RARE, {"loss": "l.py:fails"}, "the loss function fails: ZeroDivisionError"),
        (RARE, {"loss": "multi-margin", "methods": ("r-drop",)}, "another loss or class weights"),
        (
            RARE,
            {"class_weights": "balanced", "methods": ("fast-dropout",)},
            "another loss or class",
        ),
    ],
)
def test_unusable_losses_raise_an_error(
    y: np.ndarray,
    settings: dict[str, object],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("l.py").write_text(
        "def rows(outputs, targets): return outputs.sum(1)\n"
        "def number(outputs, targets): return 0.5\n"
        "def fails(outputs, targets): return 1 / 0\n"
    )
    with pytest.raises(StudyError, match=message):
        prepared(y, **settings)


def test_a_loss_that_has_changed_is_another_study(tmp_path: Path) -> None:
    file = tmp_path / "loss.py"
    folders = []
    for factor in (1, 2):
        file.write_text(f"def loss(outputs, targets): return {factor} * outputs.sum()\n")
        folders.append(prepared(RARE, loss=f"{file}:loss").folder.path)  # type: ignore[attr-defined]
    assert folders[0] != folders[1]

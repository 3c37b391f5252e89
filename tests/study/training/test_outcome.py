"""Outcomes: predictions in every form that PyTorch users have them, scored; what is refused."""

import numpy as np
import pytest
import torch

from dropkit.study import Outcome, StudyError
from dropkit.study.record import NUMBERS, unpack_rows
from dropkit.study.training.predictions import read_predictions
from dropkit.study.training.scoring import score

CLASSES = torch.tensor([0, 1, 2, 1])
LOGITS = torch.tensor([[2.0, 0, 0], [2.0, 0, 0], [0, 0, 3.0], [0, 1.0, 0]])


@pytest.mark.parametrize(
    "predictions",
    [
        LOGITS,
        LOGITS.requires_grad_(),
        LOGITS.bfloat16(),
        LOGITS.detach().numpy(),
        LOGITS.softmax(1).tolist(),
        LOGITS.argmax(1),
        LOGITS.argmax(1).float(),
    ],
)
def test_logits_probabilities_and_classes_give_the_error_of_every_row(predictions: object) -> None:
    found = Outcome(predictions, CLASSES).score()
    assert (found.measure.name, found.task, found.scores.value, found.rows) == (
        "error",
        "classification",
        0.25,
        4,
    )
    assert found.row_errors is not None
    assert unpack_rows(found.row_errors, "classification", 4).tolist() == [0, 1, 0, 0]


def test_loss_and_calibration_are_those_of_the_built_in_training() -> None:
    expected, _ = score(LOGITS.detach(), CLASSES, "classification", simulate=True)
    for predictions in (LOGITS, LOGITS.double().softmax(1)):
        found = Outcome(predictions, CLASSES).score().scores
        assert found.loss == pytest.approx(expected.loss)
        assert found.miscalibration is not None
        assert expected.miscalibration is not None
        for name in ("squared", "by_chance"):
            ours = getattr(found.miscalibration, name)
            assert ours == pytest.approx(getattr(expected.miscalibration, name))


def test_classes_may_have_names() -> None:
    found = Outcome(["cat", "dog", "dog"], ["cat", "dog", "cat"]).score()
    assert found.scores.value == pytest.approx(1 / 3)


@pytest.mark.parametrize("predictions", [[-2.0, 3.0, 1.0], [[0.2], [0.9], [0.7]]])
def test_one_number_a_row_is_a_logit_or_a_probability_of_class_1(predictions: object) -> None:
    for targets in ([0, 1, 0], [0.0, 1.0, 0.0], [False, True, False]):
        found = Outcome(predictions, targets, metric="auc").score()
        assert found.scores.value == 1.0
        assert found.contributions is not None
        assert unpack_rows(found.contributions, NUMBERS, 3).tolist() == [1, 1, 1]
        assert Outcome(predictions, targets).score().scores.value == pytest.approx(1 / 3)


def test_a_regression_is_measured_by_its_root_mean_squared_error() -> None:
    found = Outcome(torch.tensor([[1.0], [2.5]]), [1.5, 2.25]).score()
    assert (found.measure.name, found.task) == ("rmse", "regression")
    assert found.scores.value == pytest.approx(np.sqrt((0.25 + 0.0625) / 2))
    assert found.row_errors is not None
    assert unpack_rows(found.row_errors, "regression", 2).tolist() == [0.25, 0.0625]


def test_several_outputs_and_several_labels_a_row() -> None:
    values = torch.arange(6.0).reshape(3, 2) / 4
    found = Outcome(values + 0.5, values).score()
    assert (found.scores.value, found.rows, found.task) == (0.5, 3, "regression")
    targets = torch.tensor([[0, 1, 1], [1, 0, 0]])
    found = Outcome((targets - 0.6) * 3.0, targets).score()
    assert (found.scores.value, found.rows, found.task) == (0.0, 2, "other")
    assert Outcome(targets * 0.5 + 0.2, targets, metric="f1-micro").score().scores.value == 1.0


def test_tokens_count_one_by_one_but_those_to_ignore_and_are_no_independent_rows() -> None:
    targets = torch.tensor([[0, 2, -100], [1, -100, -100]])
    logits = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1], [1, 0, 0]]), 3) * 5.0
    for predictions in (logits, logits.argmax(2)):
        found = Outcome(predictions, targets).score()
        assert found.scores.value == pytest.approx(1 / 3)
        assert (found.task, found.row_errors, found.contributions) == ("other", None, None)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).exp()
    perplexity = Outcome(logits, targets, metric="perplexity").score()
    assert perplexity.scores.value == pytest.approx(expected.item())
    assert not perplexity.measure.higher_is_better


def test_a_metric_of_ones_own_needs_its_direction() -> None:
    found = Outcome(metrics={"bleu": 31.2, "chrf": 50.0}, higher_is_better=True).score()
    assert (found.measure.name, found.measure.higher_is_better) == ("bleu", True)
    assert (found.scores.value, found.scores.loss, found.rows, found.task) == (
        31.2,
        None,
        0,
        "other",
    )
    assert Outcome(metrics={"auc": torch.tensor(0.9)}).score().measure.higher_is_better
    with pytest.raises(StudyError, match="is a higher bleu better"):
        Outcome(metrics={"bleu": 31.2}).score()


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((), {}, "needs predictions and targets, or metrics"),
        (([0, 1], None), {}, "needs predictions and targets"),
        (([0, 1], [0, 1]), {"metrics": {"auc": 1.0}}, "needs predictions and targets, or metrics"),
        (([0, 1], [0, 1]), {"task": "clasification"}, "task must be"),
        (([0, 1], [0, 1]), {"metric": "f1"}, "unknown metric 'f1'"),
        (([0, 1], [0, 1]), {"higher_is_better": True}, "higher_is_better is for metrics"),
        (([0, 1], [0, 1]), {"metric": "auc"}, "auc needs probabilities.*use error, accuracy"),
        (([0, 1], [0, 1]), {"metric": "rmse"}, "rmse needs values"),
        (([0, 1], [0, 1]), {"metric": "subset-error"}, "subset-error is not for classification"),
        (([0, 1, 1], [0, 1]), {}, "got 3 and 2"),
        (([], []), {}, "no test rows"),
        (([0.5, float("nan")], [0.1, 0.2]), {}, "NaN or infinite in 1 of 2 test rows.*row 2"),
        (([0.5, 0.2], [0.1, float("inf")]), {}, "targets are NaN or infinite"),
        ((LOGITS, [0, 1, 2, 3]), {}, "classes from 0 to 2"),
        ((LOGITS, ["a", "b", "c", "b"]), {}, "Encode them"),
        ((["a", "b"], [0, 1]), {}, "predictions are text and the targets are numbers"),
        (([0, 1], ["a", "b"]), {}, "targets are text and the predictions are numbers"),
        (([0, 1], [0, 1]), {"metric": max}, "a metric's name, got a builtin.*as metrics="),
        ((), {"metrics": 31.2}, "names and numbers.*got 31.2"),
        ((LOGITS, [[0, 1], [1, 0], [2, 2], [1, 1]]), {}, "got shape"),
        (([0.3, 0.4], [0, 2]), {"task": "classification"}, "targets 0 and 1"),
        (([[1], [2, 3]], [0, 1]), {}, "several lengths"),
        (({"a": 1}, [0, 1]), {}, "must be an array of rows, got dict"),
        ((), {"metrics": {}}, "must hold a number"),
        ((), {"metrics": {"auc": "high"}}, "metrics must be numbers"),
        ((), {"metrics": {"auc": float("nan")}}, "auc is nan"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    arguments: tuple[object, ...], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        Outcome(*arguments, **settings).score()  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_same_targets_have_the_same_digest() -> None:
    first = Outcome(LOGITS, CLASSES).score()
    assert first.targets == Outcome(LOGITS.argmax(1), CLASSES.tolist()).score().targets
    assert first.targets != Outcome(LOGITS, CLASSES.flip(0)).score().targets


def test_whole_numbers_with_fractional_predictions_are_a_regression() -> None:
    assert read_predictions([3.2, 1.1, 7.9], [3, 1, 8]).task == "regression"
    assert read_predictions([3, 1, 7], [3, 1, 8]).task == "classification"
    assert read_predictions([3, 1, 7], [3, 1, 8], "regression").task == "regression"

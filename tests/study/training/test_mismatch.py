"""A model whose outputs do not fit is told what came and what to do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dropkit.study import StudyError
from dropkit.study.inputs import Inputs, Sequences, to_tensors
from dropkit.study.training.feeding import feed
from dropkit.study.training.models import check_outputs

ROWS = torch.randn(3, 7, 4)
WORDS = to_tensors(Inputs({"X": Sequences.join(np.ones((9, 4), np.float32), np.array([2, 3, 4]))}))


class Net(nn.Module):
    """Two logits a row, made into something else."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.linear, self.change = nn.Linear(4, 2), change

    def forward(self, x: Tensor, mask: Any = None) -> Any:
        return self.change(self.linear(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x, r"got shape \(3, 7, 2\) .* for each of 7 steps: take the last"),
        (lambda x: x.mean(1)[:, :1], r"got shape \(3, 1\) .* binary cross-entropy.* 2 units"),
        (lambda x: x.mean((1, 2)), r"got shape \(3,\) .* binary cross-entropy"),
        (lambda x: x.flatten(1)[:, :3], r"got shape \(3, 3\) .* its last layer 2 units"),
        (lambda x: x.transpose(0, 1), r"got shape \(7, 3, 2\) .* rows must come first"),
        (lambda x: x.mean((0, 1)), r"got shape \(2,\) .* keep the first dimension"),
        (lambda x: x[..., None, None], "flatten or pool .* end in nn.Linear"),
        (lambda x: (x, x[0]), r"a tuple .* \(3, 7, 2\), a .* \(7, 2\): .* output\[0\]"),
        (lambda x: {"scores": x}, "got a dict .* or an object whose tensor is called logits"),
        (lambda x: None, "got a NoneType .* return one tensor"),
    ],
)  # fmt: skip
def test_outputs_for_two_classes(change: Any, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        check_outputs(Net(change), ROWS, 2, "classification")


def test_the_error_for_a_regression_asks_for_one_unit() -> None:
    with pytest.raises(StudyError, match=r"got shape \(3, 2\) .* its last layer 1 unit:"):
        check_outputs(Net(lambda x: x.mean(1)), ROWS, 1, "regression")


def test_an_output_for_every_step_of_padded_sequences() -> None:
    with pytest.raises(StudyError, match=r"got shape \(3, 4, 2\) .* each of 4 steps"):
        check_outputs(feed(Net(lambda x: x), WORDS), WORDS, 2, "classification")


class Output:
    def __init__(self, logits: Tensor) -> None:
        self.logits, self.loss = logits, None


@pytest.mark.parametrize("wrap", [Output, lambda logits: {"loss": None, "logits": logits}])
def test_logits_are_taken_from_what_is_returned(wrap: Any) -> None:
    outputs = check_outputs(Net(lambda x: wrap(x.mean(1))), ROWS, 2, "classification")
    assert outputs.shape == (3, 2)
    with pytest.raises(StudyError, match=r"got shape \(3, 7, 2\)"):
        check_outputs(Net(wrap), ROWS, 2, "classification")

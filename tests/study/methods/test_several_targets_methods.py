"""Methods on rows of several targets: what they minimize, and which do not apply."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dropkit.noise import Dropout
from dropkit.study import StudyError
from dropkit.study.methods.objective import Agreement, Expected, Explicit, Loss


def make_net(outputs: int) -> nn.Module:
    """A net whose only noise stands before its last layer, of which all is known."""
    torch.manual_seed(0)
    layers = nn.Linear(4, 6), nn.ReLU(), Dropout(0.4), nn.Linear(6, outputs)
    return nn.Sequential(*layers).double()


X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
NUMBERS = torch.randn(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
LABELS = (NUMBERS > 0).double()


def expect(net: nn.Module, y: torch.Tensor, loss: object) -> float:
    """The mean of the loss over all 64 masks, by enumeration."""
    hidden, last = net[:2](X), net[3]
    total = 0.0
    for number in range(64):
        kept = torch.tensor([number >> i & 1 for i in range(6)], dtype=torch.float64)
        share = 0.6 ** kept.sum().item() * 0.4 ** (6 - kept.sum().item())
        total += share * loss(last(hidden * kept / 0.6), y).item()  # type: ignore[operator]
    return total


@pytest.mark.parametrize("method", ["expected", "explicit"])
def test_the_loss_over_all_masks_of_several_numbers(method: str) -> None:
    net = make_net(3)
    made = Expected if method == "expected" else (lambda n, loss: Explicit(False, n, loss))
    _, total = made(net, Loss("multi-output"))(X, NUMBERS)
    # Exact: a squared error is of the second order, and the last layer is linear.
    assert total.item() == pytest.approx(expect(net, NUMBERS, F.mse_loss), rel=1e-9)


def test_the_loss_over_all_masks_of_labels() -> None:
    net = make_net(3)
    _, total = Expected(net, Loss("multi-label"))(X, LABELS)
    wanted = expect(net, LABELS, F.binary_cross_entropy_with_logits)
    # The logits are taken for normal, so it is near.
    assert total.item() == pytest.approx(wanted, rel=0.02)
    without = F.binary_cross_entropy_with_logits(net.eval()(X), LABELS).item()
    assert abs(total.item() - wanted) < 0.2 * abs(without - wanted)


@pytest.mark.parametrize(
    ("make", "task", "message"),
    [
        (Agreement, "multi-label", "probabilities of classes, and this is a multi-label"),
        (Agreement, "multi-output", "probabilities of classes, and this is a multi-output"),
        (Explicit, "multi-label", "classes and for numbers, and this is a multi-label"),
    ],
)
def test_what_is_not_worked_out_is_refused(make: type, task: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        make(0.5, make_net(3), Loss(task))

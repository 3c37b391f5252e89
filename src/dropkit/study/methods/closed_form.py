"""Compute models in closed form instead of training them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dropkit.errors import StudyError
from dropkit.study.tasks import TASKS


def ridge(p: float, x: Tensor, y: Tensor, task: str) -> nn.Module:
    """Fit linear regression with dropout of rate ``p`` on the inputs in closed form."""
    # Imported here because it imports scikit-learn, which is slow.
    from dropkit.analytic import DropoutRidge

    if task != "regression":
        raise StudyError(
            f"its closed form is for a regression of one target, and this is {TASKS[task]}"
        )
    rows = x.flatten(1)
    solved = DropoutRidge(p).fit(rows.double().numpy(), y.double().numpy())
    layer = nn.Linear(rows.shape[1], 1)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(solved.coef_))
        layer.bias.fill_(float(solved.intercept_))
    return nn.Sequential(nn.Flatten(), layer)

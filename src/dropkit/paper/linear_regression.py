"""Section 9.1: linear regression with sampled dropout converges to the closed form."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.datasets import load_diabetes
from torch import Tensor

from dropkit.analytic.ridge import DropoutRidge
from dropkit.paper._experiment import Experiment, Size
from dropkit.paper._outcome import Check, Curve, Outcome, Row
from dropkit.paper._plot import WITH, WITHOUT, axes_of, legend, line
from dropkit.paper._trainings import Trainings
from dropkit.random import keep_mask

RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
TRAIN_ROWS = (30, 100, 300)  # of 442 patients
TRAIN = TRAIN_ROWS[-1]  # rows on which sampled dropout is compared with the closed form
SPLITS = 200


def closed_form(x: Tensor, y: Tensor, p: float) -> Tensor:
    """Return the weights of `DropoutRidge` without an intercept, as in the paper."""
    return torch.from_numpy(DropoutRidge(p, fit_intercept=False).fit(x, y).coef_)


def sampled(p: float, updates: int, chains: int) -> dict[str, Any]:
    """Train several times with sampled dropout, and compare with the closed form.

    Each chain runs gradient descent on all rows, with a new mask for each row and update. The
    weights are averaged over the second half of the updates (Polyak). After the initial phase, the
    mean over chains is unbiased.

    Returns:
        ``distance`` between the mean of the chains and the closed form, and its ``standard_error``,
        both relative to the norm of the closed form; ``worst_z``: the largest distance of a weight
        in standard errors; ``shrinkage``: the norm of the closed form's weights divided by the norm
        of the least-squares weights.
    """
    x, y, _, _ = patients(TRAIN, seed=0)
    exact = closed_form(x, y, p)
    q = 1 - p
    gram = x.T @ x / len(x)
    steepest = torch.linalg.eigvalsh(gram + p / q * gram.diag().diag())[-1]
    # With a single mask, the curvature may be larger than on average, so stay well below the
    # stability limit.
    rate = 0.2 / float(steepest)
    w = torch.zeros(chains, x.shape[1], dtype=x.dtype)
    total = torch.zeros_like(w)
    skip = updates // 2
    for step in range(updates):
        mask = keep_mask((chains, *x.shape), p, seed=step).to(x.dtype) / q
        noisy = x * mask
        residual = torch.einsum("cni,ci->cn", noisy, w) - y
        w = w - rate * torch.einsum("cni,cn->ci", noisy, residual) / len(x)
        if step >= skip:
            total += w
    means = total / (updates - skip)
    error = means.std(0) / math.sqrt(chains)
    apart = means.mean(0) - exact
    return {
        "distance": float(apart.norm() / exact.norm()),
        "standard_error": float(error.norm() / exact.norm()),
        "worst_z": float((apart / error).abs().max()),
        "shrinkage": float(exact.norm() / closed_form(x, y, 0.0).norm()),
    }


def risk(rows: int) -> list[float]:
    """Return the closed form's test RMSE over all splits, at p = 0 and at every rate."""
    squares = torch.zeros(1 + len(RATES), dtype=torch.float64)
    for seed in range(SPLITS):
        x, y, x_test, y_test = patients(rows, seed)
        for i, p in enumerate((0.0, *RATES)):
            squares[i] += (x_test @ closed_form(x, y, p) - y_test).square().mean()
    return [float(square) for square in (squares / SPLITS).sqrt()]


def patients(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return inputs and targets of the training rows, then of the other rows, in random order.

    Inputs are standardized and targets are centred with the training rows, so the regression needs
    no bias.
    """
    X, target = load_diabetes(return_X_y=True)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
    x, y = torch.from_numpy(X)[order], torch.from_numpy(target)[order]
    x = (x - x[:rows].mean(0)) / x[:rows].std(0)
    y = y - y[:rows].mean()
    return x[:rows], y[:rows], x[rows:], y[rows:]


def run(trainings: Trainings, *, updates: int, chains: int, data_dir: str | None) -> Outcome:
    """Compare sampling and closed form at every rate; the data set is part of scikit-learn."""
    settings = [{"p": p, "updates": updates, "chains": chains} for p in RATES]
    found = trainings.all(sampled, settings)
    risks = {rows: risk(rows) for rows in TRAIN_ROWS}
    rows: list[Row] = [
        {
            "p": p,
            "distance, relative": each["distance"],
            "its standard error": each["standard_error"],
            "largest z of a weight": each["worst_z"],
            "‖w‖ / ‖w‖ of least squares": each["shrinkage"],
        }
        | {f"test RMSE, {n} rows": risks[n][1 + i] for n in TRAIN_ROWS}
        for i, (p, each) in enumerate(zip(RATES, found, strict=True))
    ]
    # Bound for the largest of ``values`` numbers with Student's t-distribution, at level 0.001.
    values = len(RATES) * patients(TRAIN, 0)[0].shape[1]
    bound = float(stats.t.ppf(1 - 0.001 / (2 * values), chains - 1))
    checks = [
        Check(
            "largest distance of a weight from the closed form, in standard errors",
            max(each["worst_z"] for each in found),
            "0: the same minimum",
            high=bound,
        ),
        Check(
            "largest distance of the weights, % of their length",
            100 * max(each["distance"] for each in found),
            "0: the same minimum",
            high=2.0,
        ),
    ]
    curves = [
        Curve(f"{n} rows", "test RMSE of the closed form", (0.0, *RATES), tuple(values))
        for n, values in risks.items()
    ]
    return Outcome(rows, checks, _figure(found, curves), curves)


def _figure(found: list[dict[str, Any]], curves: list[Curve]) -> Figure:
    figure, (left, right) = axes_of(9.0, 3.8, columns=2)
    distance = [100 * each["distance"] for each in found]
    errors = [100 * each["standard_error"] for each in found]
    line(left, RATES, distance, "sampled dropout to closed form", colour=WITH)
    line(left, RATES, errors, "standard error of that", colour=WITHOUT, number=1)
    left.set_ylim(0, 1.4 * max(*distance, *errors))
    left.set_ylabel("distance, % of the weights' length")
    for number, curve in enumerate(curves):
        line(right, curve.x, curve.y, f"dropout, {curve.name}", colour=WITH, number=number)
    starts = [curve.y[0] for curve in curves]
    right.plot([0] * len(curves), starts, "X", color=WITHOUT, markersize=8, label="least squares")
    right.set_ylabel("test RMSE of the closed form")
    for axes in (left, right):
        axes.set_xlabel("probability of dropping an input, p")
        legend(axes)
    return figure


EXPERIMENT = Experiment(
    name="linear-regression",
    title="Linear regression: sampled dropout against its closed form",
    source="Srivastava et al. 2014, section 9.1; the article's equivalent regularizer",
    run=run,
    data=None,
    sizes={
        "quick": Size(
            "The diabetes data of scikit-learn: sampled dropout on 300 rows, 4,000 updates, 16 "
            "chains; the closed form's risk over 200 random splits.",
            {"updates": 4_000, "chains": 16},
        ),
        "short": Size(
            "The diabetes data of scikit-learn: sampled dropout on 300 rows, 50,000 updates, 32 "
            "chains; the closed form's risk over 200 random splits.",
            {"updates": 50_000, "chains": 32},
        ),
        "full": Size(
            "The diabetes data of scikit-learn: sampled dropout on 300 rows, 1,000,000 updates, 32 "
            "chains; the closed form's risk over 200 random splits.",
            {"updates": 1_000_000, "chains": 32},
        ),
    },
)

"""The closed form against all masks, and scikit-learn's contract."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import check_estimator

from dropkit.analytic import DropoutRidge
from dropkit.random import keep_mask


def expected_loss(X, y, w, b, p):
    """E‖y − b − (X ⊙ ξ)w‖² over all masks of all rows, which are independent."""
    d = X.shape[1]
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * d)
    kept = masks.sum(1)
    chance = (1 - p) ** kept * p ** (d - kept)
    outputs = torch.einsum("md,nd,d->mn", masks / (1 - p), X, w) + b
    return (chance[:, None] * (y - outputs).square()).sum()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_no_direction_lowers_the_expected_loss_over_all_masks(p, fit_intercept):
    rng = np.random.default_rng(0)
    X, y = rng.normal(1.0, 1.0, (6, 4)), rng.normal(2.0, 1.0, 6)
    model = DropoutRidge(p, fit_intercept=fit_intercept).fit(X, y)
    w = torch.tensor(model.coef_, requires_grad=True)
    b = torch.tensor(float(model.intercept_), dtype=torch.float64, requires_grad=True)
    loss = expected_loss(torch.from_numpy(X), torch.from_numpy(y), w, b, p)
    of_w, of_b = torch.autograd.grad(loss, [w, b])
    assert of_w.abs().max() < 1e-10
    if fit_intercept:
        assert of_b.abs() < 1e-10
    else:
        assert model.intercept_ == 0.0


def test_sampled_training_comes_to_the_same_weights():
    """Averaged stochastic gradient descent, several chains, within its own standard error."""
    rng = np.random.default_rng(1)
    X = torch.from_numpy(rng.normal(size=(40, 5)))
    y = X @ torch.arange(5.0, dtype=torch.float64) + torch.from_numpy(rng.normal(size=40))
    p, chains, updates = 0.3, 24, 3000
    exact = torch.from_numpy(DropoutRidge(p, fit_intercept=False).fit(X, y).coef_)
    w, total = torch.zeros(chains, 5, dtype=torch.float64), 0.0
    for step in range(updates):
        noisy = X * keep_mask((chains, 40, 5), p, seed=step) / (1 - p)
        w = (
            w
            - 0.05
            * torch.einsum("cni,cn->ci", noisy, torch.einsum("cni,ci->cn", noisy, w) - y)
            / 40
        )
        if step >= updates // 3:
            total = total + w
    means = total / (updates - updates // 3)
    z = (means.mean(0) - exact) / (means.std(0) / chains**0.5)
    assert z.abs().max() < 4.5  # of five t values with 23 degrees of freedom, p = 0.001


def test_without_dropout_it_is_least_squares():
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    ours, theirs = DropoutRidge(0.0).fit(X, y), LinearRegression().fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("p", [0.0, 0.4])
@pytest.mark.parametrize("extreme", [1e-300, 1e-15, 1e15, 1e155, 1e300])
def test_the_scale_of_a_feature_changes_nothing(p, extreme):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    scale = np.array([1e-3, 1.0, 10.0, extreme])
    plain, scaled = DropoutRidge(p).fit(X, y), DropoutRidge(p).fit(X * scale, y)
    np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-9)
    np.testing.assert_allclose(scaled.predict(X * scale), plain.predict(X), rtol=1e-9)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("p", [1e-300, 1e-28, 1e-27, 1e-26, 1e-20, 1e-12])
def test_as_p_falls_to_0_the_weights_come_to_those_at_0(p, fit_intercept):
    rng = np.random.default_rng(4)
    X, y = rng.normal(2.0, 1.0, (5, 10)) * np.logspace(-3, 3, 10), rng.normal(size=5)
    small, none = (DropoutRidge(q, fit_intercept=fit_intercept).fit(X, y) for q in (p, 0.0))
    lengths = np.linalg.norm(X, axis=0)
    np.testing.assert_allclose(small.coef_ * lengths, none.coef_ * lengths, atol=1e-8)
    # Of all that fit the data, the least sum of squares of w_j and its column's length.
    shift = X.mean(0) if fit_intercept else 0.0
    rows = (X - shift) / lengths
    least = np.linalg.pinv(rows) @ (y - y.mean() if fit_intercept else y)
    np.testing.assert_allclose(none.coef_ * lengths, least, atol=1e-8)
    np.testing.assert_allclose(none.predict(X), y)


def test_a_constant_column_gets_no_weight_beside_an_intercept():
    X = np.full((7, 1), 0.1)  # of which the mean is rounded
    assert DropoutRidge(0.0).fit(X, np.arange(7.0)).coef_ == 0.0


def test_a_column_of_zeros_gets_no_weight():
    X = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]])
    assert DropoutRidge(0.5).fit(X, [1.0, 2.0, 3.0]).coef_[1] == 0.0


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.1, float("nan")])
def test_rates_that_leave_nothing(p):
    with pytest.raises(ValueError, match="p must"):
        DropoutRidge(p).fit([[1.0], [2.0]], [1.0, 2.0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_contract_of_scikit_learn():
    check_estimator(DropoutRidge(0.2))

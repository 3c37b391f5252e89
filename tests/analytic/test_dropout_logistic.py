"""Second-order and Gaussian forms against all masks, gradients, and scikit-learn's contract."""

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from dropkit.analytic import DropoutLogistic
from dropkit.analytic.logistic import gaussian_loss, quadratic_penalty


def expected_extra(x, weights, bias, target, p):
    """What all masks together add to the loss without dropout."""
    d = x.shape[1]
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * d)
    kept = masks.sum(1)
    chance = (1 - p) ** kept * p ** (d - kept)
    logits = torch.einsum("md,nd,dk->mnk", masks / (1 - p), x, weights) + bias
    entropy = torch.nn.functional.cross_entropy
    noisy = torch.stack([entropy(each, target, reduction="sum") for each in logits])
    return (chance * noisy).sum() - entropy(x @ weights + bias, target, reduction="sum")


def tiny(classes):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    weights = 0.5 * torch.randn(6, classes, generator=generator, dtype=torch.float64)
    bias = torch.randn(classes, generator=generator, dtype=torch.float64)
    return x, weights, bias, torch.arange(5) % classes


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("p", [0.1, 0.6])
def test_the_penalty_is_right_to_second_order_in_what_a_feature_adds(classes, p):
    x, weights, bias, target = tiny(classes)
    relative = []
    for scale in (0.02, 0.01, 0.005):
        small = scale * weights
        exact = expected_extra(x, small, bias, target, p)
        probabilities = (x @ small + bias).softmax(1)
        penalty = quadratic_penalty(x, small, probabilities, p / (1 - p))
        relative.append(abs(1 - (penalty / exact).item()))
    assert relative[0] < 0.01
    # What is left out is of third order, so the relative error halves with the scale.
    assert relative[1] / relative[0] == pytest.approx(0.5, abs=0.1)
    assert relative[2] / relative[1] == pytest.approx(0.5, abs=0.1)


def test_the_binary_form_is_that_of_generalized_linear_models():
    x, weights, bias, _ = tiny(2)
    beta = weights[:, 1] - weights[:, 0]
    logits = x @ weights + bias
    pi = (logits[:, 1] - logits[:, 0]).sigmoid()
    expected = 0.5 * 0.3 * (pi * (1 - pi) * (x.square() @ beta.square())).sum()
    ours = quadratic_penalty(x, weights, logits.softmax(1), 0.3)
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize(("widest", "bound"), [(1.0, 1e-9), (2.0, 1e-5), (3.0, 3e-4)])
def test_the_gaussian_form_has_the_documented_error(widest, bound):
    nodes, chances = np.polynomial.hermite_e.hermegauss(120)
    chances = chances / chances.sum()
    margin, deviation = np.meshgrid(np.linspace(-8, 8, 65), np.linspace(0, widest, 25))
    z = margin[..., None] + deviation[..., None] * nodes
    exact = (chances * np.logaddexp(0, -z)).sum(-1)
    ours = gaussian_loss(torch.from_numpy(margin), torch.from_numpy(deviation**2)).numpy()
    worst = np.abs(ours - exact).max()
    assert bound / 2 < worst < bound


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
def test_without_dropout_it_is_logistic_regression(form):
    X, y = load_iris(return_X_y=True)
    X, y = X[50:], y[50:]  # the two classes that are not separable
    ours = DropoutLogistic(0.0, form=form, tol=1e-9, max_iter=5000).fit(X, y)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)


def test_several_classes_without_dropout():
    X, y = load_iris(return_X_y=True)
    X = X[:, :2]
    ours = DropoutLogistic(0.0, tol=1e-9, max_iter=5000).fit(X, y)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
def test_the_minimum_is_near_that_of_the_expected_loss(form):
    """On few features, where all masks can be counted, the true expected loss hardly falls."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    y = (X @ [1.0, -1.0, 0.5, 0.0, 0.0] + rng.normal(size=40) > 0).astype(int)
    p = 0.2
    model = DropoutLogistic(p, form=form).fit(X, y)
    x, target = torch.from_numpy(X), torch.from_numpy(y)

    def true_loss(flat):
        weights = torch.stack([torch.zeros(5, dtype=torch.float64), flat[:5]], 1)
        bias = torch.stack([torch.zeros((), dtype=torch.float64), flat[5]])
        loss = torch.nn.functional.cross_entropy(x @ weights + bias, target, reduction="sum")
        return (loss + expected_extra(x, weights, bias, target, p)) / 40

    found = torch.tensor([*model.coef_[0], model.intercept_[0]], requires_grad=True)
    best = found.detach().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([best], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = true_loss(best)
        loss.backward()
        return loss

    optimizer.step(closure)
    plain = DropoutLogistic(0.0).fit(X, y)
    start = true_loss(torch.tensor([*plain.coef_[0], plain.intercept_[0]])).item()
    gained = start - true_loss(best).item()
    assert gained > 0
    assert start - true_loss(found).item() > 0.95 * gained


def test_rows_without_labels_join_in_the_penalty():
    X, y = load_digits(return_X_y=True)
    X = X / 16
    few, many = slice(0, 60), slice(60, 1000)
    alone = DropoutLogistic(0.5).fit(X[few], y[few])
    helped = DropoutLogistic(0.5).fit(X[few], y[few], X_unlabelled=X[many])
    assert not np.allclose(alone.coef_, helped.coef_)
    # The same rows again, without labels, say nothing new: n/(n + n) · 2R = R.
    same = DropoutLogistic(0.5).fit(X[few], y[few], X_unlabelled=X[few])
    np.testing.assert_allclose(same.coef_, alone.coef_, atol=1e-3)


def test_separable_classes_have_a_minimum_with_dropout_alone():
    X, y = np.array([[-1.0], [1.0]] * 5), np.array([0, 1] * 5)
    with pytest.warns(ConvergenceWarning, match="separable classes"):
        DropoutLogistic(0.0, max_iter=10, tol=1e-12).fit(X, y)
    assert 0 < DropoutLogistic(0.5, form="gaussian").fit(X, y).coef_[0, 0] < 20


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
@pytest.mark.filterwarnings("error")
def test_the_scale_of_a_feature_changes_nothing(form):
    X, y = load_iris(return_X_y=True)
    X, y = X[50:], y[50:]
    scale = np.array([1e-155, 1.0, 1e8, 1e155])
    for p in (0.0, 0.1, 0.999):
        plain, scaled = (DropoutLogistic(p, form=form).fit(x, y) for x in (X, X * scale))
        np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-3)
        np.testing.assert_allclose(scaled.intercept_, plain.intercept_, rtol=1e-3)


@pytest.mark.filterwarnings("error")
def test_nor_does_it_with_rows_without_labels():
    """One feature is 0 wherever there are labels, and one everywhere."""
    X, y = load_iris(return_X_y=True)
    X = np.hstack([X, (np.arange(150) % 3 == 1)[:, None] * X[:, :1], np.zeros((150, 1))])
    scale, few, many = (
        np.array([1e-8, 1.0, 10.0, 1e8, 1e4, 1.0]),
        slice(0, 150, 3),
        slice(1, 150, 3),
    )
    plain, scaled = (
        DropoutLogistic(0.3).fit(x[few], y[few], X_unlabelled=x[many]) for x in (X, X * scale)
    )
    np.testing.assert_allclose(scaled.coef_ * scale, plain.coef_, rtol=1e-3)
    assert plain.coef_[:, 4].any()
    assert not plain.coef_[:, 5].any()


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
@pytest.mark.filterwarnings("error")
def test_raw_data_need_no_standardizing_to_converge(form):
    X, y = load_breast_cancer(return_X_y=True)
    assert DropoutLogistic(0.1, form=form).fit(X, y).n_iter_ < 200
    if form == "quadratic":
        X, y = load_wine(return_X_y=True)
        assert DropoutLogistic(0.5).fit(X, y).n_iter_ < 200


@pytest.mark.filterwarnings("error")
def test_the_gaussian_form_has_no_seam_at_which_a_line_search_ends():
    for seed, p in ((0, 0.5), (1, 0.3)):
        rng = np.random.default_rng(seed)
        X, weights = rng.normal(size=(400, 4)), 1.5 * rng.normal(size=4)
        y = X @ weights + rng.normal(size=400) > 0
        DropoutLogistic(p, form="gaussian").fit(X, y)


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
def test_a_fit_that_stops_above_tol_says_so(form):
    X, y = load_iris(return_X_y=True)
    model = DropoutLogistic(0.1, form=form, tol=1e-17)
    with pytest.warns(ConvergenceWarning, match="standardize .*, tol=1e-17") as caught:
        model.fit(X[50:], y[50:])
    assert model.n_iter_ < model.max_iter  # the line search ended, not the iterations
    assert ("separable" in str(caught[0].message)) == (form == "quadratic")


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
def test_fitting_needs_no_gradients_from_outside(form, mode):
    X, y = load_iris(return_X_y=True)
    outside = DropoutLogistic(form=form).fit(X[50:], y[50:])
    with mode():
        inside = DropoutLogistic(form=form).fit(X[50:], y[50:])
        assert (inside.predict(X) == outside.predict(X)).all()
    np.testing.assert_array_equal(inside.coef_, outside.coef_)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"p": 1.0}, "p must be below 1"),
        ({"p": -0.5}, "p must"),
        ({"form": "exact"}, "form must be 'quadratic' or 'gaussian'"),
        ({"unlabelled_weight": 0.0}, "unlabelled_weight must be"),
        ({"unlabelled_weight": float("nan")}, "unlabelled_weight must be"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        DropoutLogistic(**arguments).fit([[0.0], [1.0]], [0, 1])


def test_the_gaussian_form_says_what_it_cannot_do():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="two classes"):
        DropoutLogistic(form="gaussian").fit(X, y)
    with pytest.raises(ValueError, match="without labels, got X_unlabelled"):
        DropoutLogistic(form="gaussian").fit(X[:100], y[:100], X_unlabelled=X)
    with pytest.raises(ValueError, match="one class"):
        DropoutLogistic().fit(X[:10], y[:10])


@pytest.mark.parametrize("form", ["quadratic", "gaussian"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_contract_of_scikit_learn(form):
    check_estimator(DropoutLogistic(0.2, form=form))

"""Sampled dropout on least squares comes to the closed form, and the comparison can tell."""

import torch
from scipy import stats

from dropkit.paper import linear_regression
from dropkit.paper.linear_regression import closed_form, patients, risk, sampled

P, CHAINS, INPUTS = 0.4, 8, 10


def test_sampled_dropout_ends_at_its_own_closed_form_and_at_no_other(monkeypatch):
    bound = stats.t.ppf(1 - 1e-4 / (2 * INPUTS), CHAINS - 1)
    right = sampled(P, updates=1500, chains=CHAINS)
    assert right["worst_z"] < bound
    assert right["distance"] < 0.02
    with monkeypatch.context() as wrong:
        wrong.setattr(
            linear_regression, "closed_form", lambda x, y, p: closed_form(x, y, p and p + 0.05)
        )
        assert sampled(P, updates=1500, chains=CHAINS)["worst_z"] > bound


def test_without_dropout_it_is_least_squares():
    x, y, _, _ = patients(50, seed=3)
    expected = torch.linalg.lstsq(x, y).solution
    torch.testing.assert_close(closed_form(x, y, 0.0), expected)


def test_patients_are_split_and_standardized_on_the_training_rows():
    x, y, x_test, y_test = patients(50, seed=3)
    assert len(x) == len(y) == 50
    assert len(x_test) == len(y_test) == 442 - 50
    torch.testing.assert_close(x.mean(0), torch.zeros(INPUTS, dtype=x.dtype))
    torch.testing.assert_close(x.std(0), torch.ones(INPUTS, dtype=x.dtype))
    assert abs(y.mean()) < 1e-9
    assert not torch.equal(patients(50, seed=4)[1], y)


def test_risk_is_of_the_other_patients(monkeypatch):
    monkeypatch.setattr(linear_regression, "SPLITS", 1)
    x, y, x_test, y_test = patients(50, seed=0)
    plain = torch.linalg.lstsq(x, y).solution
    expected = (x_test @ plain - y_test).square().mean().sqrt()
    found = risk(50)
    torch.testing.assert_close(torch.tensor(found[0], dtype=x.dtype), expected)
    assert len(found) == 1 + len(linear_regression.RATES)

"""One run that decides, and the sign-flip test."""

import numpy as np
import pytest

from dropkit.study.analysis.skew import is_skewed, sign_flip_p
from helpers.fabricated import make_analysis

NONE = [0.20, 0.21, 0.22, 0.20, 0.23, 0.21, 0.22, 0.20, 0.21]


@pytest.mark.parametrize(
    ("differences", "skewed"),
    [([1.0, 1.0, 1.0], False), ([1.0, 1.0, 2.5], True), ([-1.0, -1.0, -1.0, 3.5], True),
     ([-2.0, -1.0, -1.0, 3.0, 2.5], True), ([9.0, 1.0], False), ([0.0, 0.0, 0.0], False)],
)  # fmt: skip
def test_skew(differences: list[float], skewed: bool) -> None:
    assert is_skewed(differences) == skewed


def test_sign_flips_by_hand() -> None:
    # Of eight patterns of 1, 2, 4 only +++ and --- reach 7.
    assert sign_flip_p([1.0, 2.0, 4.0]) == 0.25
    assert sign_flip_p([0.0, 0.0]) == 1.0
    values = np.random.default_rng(0).normal(size=20)
    assert sign_flip_p(list(values)) == sign_flip_p(list(values))
    assert 0.01 < sign_flip_p(list(values)) < 1


def test_a_claim_on_skewed_differences_has_an_alert() -> None:
    gains = [-0.04, -0.04, -0.05, -0.04, -0.05, -0.04, -0.04, -0.05, -0.42]
    errors = [none + max(gain, -none) for none, gain in zip(NONE, gains, strict=True)]
    text = "\n".join(map(str, make_analysis({"none": NONE, "l1": errors}).alerts))
    assert "One seed decides" not in text  # not significant, so nothing is claimed
    even = [none + gain for none, gain in zip(NONE, [*gains[:8], -0.05], strict=True)]
    assert "One seed decides" not in "\n".join(
        map(str, make_analysis({"none": NONE, "l1": even}).alerts)
    )

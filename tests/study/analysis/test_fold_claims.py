"""What folds change of what is said: the variance, the power, and the words."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dropkit.study.analysis import Analysis, Claim, Estimate, analyze
from dropkit.study.analysis.alerts import find_alerts
from dropkit.study.analysis.decision import is_decided
from dropkit.study.analysis.findings import Findings, sort_findings
from dropkit.study.analysis.power import compute_power, find_detectable, find_seeds, upper_spread
from dropkit.study.analysis.stats import t_interval
from dropkit.study.record import Record
from dropkit.study.report.terminal import _explain_table
from helpers.fabricated import make_record

OVERLAP = 1 / 3
NONE = [0.20, 0.21, 0.22, 0.20, 0.23, 0.21, 0.19, 0.22, 0.24, 0.20]
BETTER = [-0.06, -0.07, -0.05, -0.06, -0.06, -0.07, -0.08, -0.05, -0.06, -0.05]
WIDE = [0.05, -0.04, 0.03, -0.04, 0.02, 0.01, -0.03, 0.04, -0.02, 0.01]


def shift(shifts: Sequence[float]) -> list[float]:
    return [error + by for error, by in zip(NONE, shifts, strict=True)]


def record_folds(*shifts: Sequence[float], **about: object) -> Record:
    """Two repetitions of five folds, each tested on rows of its own."""
    errors = {"none": NONE} | {f"m{i}": shift(each) for i, each in enumerate(shifts, 1)}
    study = {"folds": 5, "worthwhile": 0.1} | about.pop("study", {})  # type: ignore[operator]
    record = make_record(errors, study=study, **about)  # type: ignore[arg-type]
    runs = tuple(replace(run, test_rows=200) for run in record.runs)
    data = replace(record.data, rows_test=1000)
    return replace(record, runs=runs, data=data, overlap=OVERLAP)


def find(record: Record) -> Findings:
    analysis = analyze(record)
    return sort_findings(record, analysis.summaries, analysis.baseline)


def say(analysis: Analysis) -> str:
    return "\n".join(analysis.lines)


def test_the_variance_is_that_of_nadeau_and_bengio() -> None:
    record = record_folds(BETTER)
    summary = analyze(record).summaries[1]
    assert summary.effect is not None
    assert summary.claim is not None
    d = np.array([r.test.value for r in record.of("m1")]) - np.array(NONE)  # type: ignore[union-attr]
    error = math.sqrt(d.var(ddof=1) * (1 / 10 + OVERLAP))
    assert summary.claim.p == pytest.approx(2 * stats.t.sf(abs(d.mean()) / error, 9), rel=1e-6)
    half = stats.t.ppf(0.975, 9) * error
    assert summary.claim.estimate.half == pytest.approx(half, rel=1e-6)
    assert summary.effect.row_variance is None
    assert summary.claim == summary.claim_here


def test_the_winners_interval_is_simultaneous_and_wider_for_the_overlap() -> None:
    shifts = BETTER, WIDE, list(reversed(BETTER))
    found = analyze(record_folds(*shifts)).summaries[1].claim
    plain = analyze(replace(record_folds(*shifts), overlap=1e-12)).summaries[1].claim
    assert found is not None
    assert plain is not None
    ratio = math.sqrt((1 / 10 + OVERLAP) * 10)
    assert found.estimate.half == pytest.approx(ratio * plain.estimate.half, rel=1e-6)  # type: ignore[operator]


def test_values_and_gaps_have_the_same_variance() -> None:
    summary = analyze(record_folds(BETTER)).summaries[0]
    assert summary.value == t_interval(NONE, overlap=OVERLAP)
    assert summary.value.half == pytest.approx(
        stats.t.ppf(0.975, 9) * np.std(NONE, ddof=1) * math.sqrt(1 / 10 + OVERLAP)
    )
    assert summary.gap == t_interval(NONE, overlap=OVERLAP)


def test_a_win_is_about_training_and_test_rows() -> None:
    analysis = analyze(record_folds(BETTER, WIDE))
    headline = analysis.verdict.headline
    assert headline.startswith("m1, the best of 2 methods, lowers the test error by 6.10 points [")
    assert headline.endswith("against the baseline")
    (reach,) = (line for line in analysis.verdict.details if "interval accounts" in line)
    assert reach == (
        "The 95 % interval accounts for the choice of seeds, training rows and test rows. The "
        "interval is widened because m1 was chosen as the best of 2 methods."
    )
    assert "on these" not in say(analysis)
    assert _explain_table(analysis) == (
        "± is half the width of a 95 % interval, which accounts for the choice of seeds, training "
        "rows and test rows. Intervals of differences are also corrected for the number of "
        "methods. ▼ (lower) and ▲ (higher) mark significant differences from the "
        "baseline (Holm-corrected p < 0.05)."
    )


def test_a_claim_of_seeds_alone_is_none_of_rows() -> None:
    small = [by / 20 for by in WIDE]
    shifted = [by - 0.0025 for by in small]
    alone = analyze(replace(record_folds(shifted), overlap=1e-12))
    assert alone.summaries[1].is_significant
    assert not analyze(record_folds(shifted)).summaries[1].is_significant


def test_what_is_open_says_how_many_repetitions_would_show_it() -> None:
    wide = [2 * by - 0.05 for by in WIDE]
    analysis = analyze(record_folds(wide, study={"worthwhile": 5.0}))
    text = say(analysis)
    assert "over 2 repetitions of 5 folds" in analysis.verdict.headline
    assert "With 2 repetitions of 5 folds, a study finds a true difference of" in text
    assert "With these rows, no number of repetitions finds 5.00 points, the smallest" in text
    assert "more repetitions alone are unlikely to settle which is better" in text


def test_the_power_is_that_of_the_corrected_test() -> None:
    found = find(record_folds(WIDE))
    assert found.plan is not None
    assert found.plan.seeds == 2
    # By simulation: normal differences of ten runs that have a part in common.
    rng = np.random.default_rng(0)
    spread, difference = 1.0, 1.4
    common = math.sqrt(OVERLAP) * rng.normal(size=(40_000, 1))
    d = difference + common + rng.normal(size=(40_000, 10))
    t = d.mean(1) / np.sqrt(d.var(axis=1, ddof=1) * (1 / 10 + OVERLAP))
    power = float((np.abs(t) > stats.t.ppf(0.975, 9)).mean())
    assert compute_power(difference, spread, 10, overlap=OVERLAP) == pytest.approx(power, abs=0.01)
    least = find_detectable(spread, 10, overlap=OVERLAP)
    assert compute_power(least, spread, 10, overlap=OVERLAP) == pytest.approx(0.8, abs=1e-6)
    assert find_seeds(least, spread, overlap=OVERLAP) in (10, 11)
    assert find_seeds(0.5 * least, spread, overlap=OVERLAP) is None  # however many there are


def test_repetitions_are_counted_whole() -> None:
    found = find(record_folds(BETTER))
    (best,) = found.better
    assert best.effect is not None
    assert best.effect.seed_variance is not None
    spread = upper_spread(math.sqrt(best.effect.seed_variance), 10)
    runs = find_seeds(abs(best.effect.mean), spread, overlap=OVERLAP)
    assert runs is not None
    assert 1 < runs < 5
    assert found.count_needed(best) == 1


def test_folds_of_another_tool_have_no_more_of_them() -> None:
    record = record_folds(WIDE)
    foreign = replace(record, study={"data": "made-up"})
    assert find(foreign).plan is None
    assert find(foreign).count_needed(find(foreign).open[0]) is None


def test_random_signs_are_not_for_folds() -> None:
    skewed = [0.001 * (1 + i % 2) for i in range(9)] + [-0.9]
    base = [0.95] * 10
    record = make_record({"none": base, "m1": [b + s for b, s in zip(base, skewed, strict=True)]})
    alerts = {False: record, True: replace(record, overlap=OVERLAP, study={"folds": 5})}
    sure = Claim(Estimate(-0.1, -0.2, -0.05, 10), 0.001, 0.001)
    for with_folds, each in alerts.items():
        found = analyze(each)
        summaries = [found.summaries[0], replace(found.summaries[1], claim=sure)]
        listed = find_alerts(each, summaries, found.baseline)
        (skew,) = (alert for alert in listed if alert.kind == "skewed")
        assert ("sign-flip (permutation) test" in str(skew)) != with_folds


def test_few_rows_are_counted_over_the_folds() -> None:
    analysis = analyze(replace(record_folds(BETTER)))
    assert not any(alert.kind == "few test rows" for alert in analysis.alerts)
    record = record_folds(BETTER)
    few = replace(record, data=replace(record.data, rows_test=500))
    assert (
        "The 5 folds together test only 500 rows: one row changes the error by 0.20 points."
        in say(analyze(few))
    )


def test_looks_are_counted_in_repetitions() -> None:
    text = say(analyze(record_folds(WIDE, looks=(1, 2))))
    assert "The results were analyzed 2 times (at 1, 2 repetitions)" in text
    planned = record_folds(WIDE, looks=(1, 2), study={"until_decided": True, "seeds": 1})
    assert "So far the study was analyzed at 1, 2 repetitions" in say(analyze(planned))


def test_a_win_decides() -> None:
    assert is_decided(analyze(record_folds(BETTER)))
    assert not is_decided(analyze(record_folds(WIDE)))

"""The verdicts of recorded studies equal those of an independent script with numpy and scipy.

Three small studies were run on data sets of scikit-learn and are kept in ``recorded``: a regression
of ``diabetes``, the AUC on ``breast_cancer`` with its predictions, and six methods on ``wine``, one
of which diverges. Everything below the first function reads their files alone.
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from dropkit.study.analysis import analyze
from dropkit.study.record import Record

RECORDED = Path(__file__).parent / "recorded"
Array = npt.NDArray[np.float64]


@pytest.mark.parametrize("name", ["regression", "auc", "diverged"])
def test_the_verdict_is_that_of_an_independent_script(name: str) -> None:
    analysis = analyze(Record.load(RECORDED / f"{name}.json"))
    expected = judge(name)
    summaries = {s.method: s for s in analysis.summaries if s.effect is not None}
    assert summaries.keys() == expected.keys()
    for method, found in expected.items():
        summary = summaries[method]
        assert summary.difference is not None
        assert summary.claim is not None
        assert summary.claim_here is not None
        assert summary.difference.mean == pytest.approx(found["mean"], rel=1e-6)
        for claim, kind in ((summary.claim, "new"), (summary.claim_here, "here")):
            p, p_holm, half = found[kind]
            if p is None:
                assert claim.p is None
                continue
            assert claim.p == pytest.approx(p, rel=1e-4)
            assert claim.p_holm == pytest.approx(p_holm, rel=1e-4)
            if half is not None:
                assert claim.estimate.half == pytest.approx(half, rel=1e-4)
    assert analysis.verdict.headline.startswith(write_headline(name, expected))


def load(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return found


def read_values(name: str) -> dict[str, dict[int, tuple[float, Array]]]:
    """The measure of every finished run, and what its rows contribute, by method and seed."""
    record = load(name)
    runs: dict[str, dict[int, tuple[float, Array]]] = {}
    for run in record["runs"]:
        if run["status"] != "finished":
            continue
        value = run["test"]["value"]
        if name == "auc":
            rows = contribute_to_auc(run["method"], run["seed"])
            assert rows.mean() == pytest.approx(value, rel=1e-6)
        else:
            raw = base64.b64decode(run["row_errors"])
            if name == "regression":
                squared = np.frombuffer(raw, "<f4").astype(float)
                rows = (squared / np.sqrt(squared.mean()) + np.sqrt(squared.mean())) / 2
            else:
                count = record["data"]["rows_test"]
                rows = np.unpackbits(np.frombuffer(raw, np.uint8))[:count].astype(float)
        runs.setdefault(run["method"], {})[run["seed"]] = value, rows
    return runs


def contribute_to_auc(method: str, seed: int) -> Array:
    """The AUC with every row's influence, from all pairs of a positive and a negative row."""
    with np.load(RECORDED / "auc.npz") as file:
        truth, scores = file["targets"], np.exp(file[f"{method}, seed {seed}"].astype(float))[:, 1]
    won = (scores[truth == 1][:, None] > scores[truth == 0]) + 0.0
    won += 0.5 * (scores[truth == 1][:, None] == scores[truth == 0])
    area, rows = won.mean(), np.empty(len(truth))
    rows[truth == 1] = area + (won.mean(1) - area) / np.mean(truth == 1)
    rows[truth == 0] = area + (won.mean(0) - area) / np.mean(truth == 0)
    return rows


def judge(name: str) -> dict[str, dict[str, Any]]:
    """Differences from the baseline; p, Holm's p and half the interval, on new rows and these."""
    runs, family = read_values(name), len(load(name)["methods"]) - 1
    plain, effects = runs.pop("none"), {}
    for method, mine in runs.items():
        seeds = sorted(mine.keys() & plain.keys())
        values = np.array([mine[s][0] - plain[s][0] for s in seeds])
        by_row = np.array([mine[s][1] - plain[s][1] for s in seeds]).mean(0)
        effects[method] = values, by_row
    known = {m: v.var(ddof=1) for m, (v, _) in effects.items() if np.ptp(v) > 1e-9}
    found: dict[str, dict[str, Any]] = {}
    for method, (values, by_row) in effects.items():
        found[method] = {"mean": values.mean(), "new": (None,) * 3, "here": (None,) * 3}
        if method not in known:
            continue
        others = [variance for m, variance in known.items() if m != method]
        seeds, variance, freedom = len(values), known[method], len(values) - 1.0
        if others:
            prior = freedom * len(others) / 4
            pooled = (prior * np.mean(others) + freedom * variance) / (prior + freedom)
            variance, freedom = max(variance, pooled), freedom + prior
        part, rows = variance / seeds, by_row.var(ddof=1) / len(by_row)
        row_freedom = len(by_row) - 1.0
        if name == "auc":
            kurtosis = max(stats.kurtosis(by_row), 0.0)
            row_freedom = 2 / (kurtosis / len(by_row) + 2 / (len(by_row) - 1))
        both = (part + rows) ** 2 / (part**2 / freedom + rows**2 / row_freedom)
        for kind, spreads in (
            ("new", [(part, freedom), (part + rows, both)]),
            ("here", [(part, freedom)]),
        ):
            size = abs(values.mean())
            p = max(2 * stats.t.sf(size / np.sqrt(v), df) for v, df in spreads)
            half = max(stats.t.ppf(1 - 0.025 / family, df) * np.sqrt(v) for v, df in spreads)
            found[method][kind] = p, None, half
    for kind in ("new", "here"):
        order = sorted((f[kind][0], m) for m, f in found.items() if f[kind][0] is not None)
        largest = 0.0
        for rank, (p, method) in enumerate(order):
            largest = max(largest, min(1.0, (family - rank) * p))
            half = found[method][kind][2]
            # Where only Holm's correction excludes zero the interval is a narrower one.
            narrower = largest < 0.05 and half > abs(found[method]["mean"])
            found[method][kind] = p, largest, None if narrower else half
    return found


def write_headline(name: str, found: dict[str, dict[str, Any]]) -> str:
    """What a verdict must begin with, from the numbers of `judge`."""
    record = load(name)
    measure, family = record["data"]["measure"], len(record["methods"]) - 1
    sign = -1 if measure["higher_is_better"] else 1
    known = {m: f for m, f in found.items() if f["new"][0] is not None and f["new"][1] < 0.05}
    better = [m for m, f in known.items() if sign * f["mean"] < 0]
    if better:
        best = min(better, key=lambda m: sign * found[m]["mean"])
        size, half = abs(found[best]["mean"]), found[best]["new"][2]
        digits = max(0, 1 - int(np.floor(np.log10(half))))
        shown = f"{size:.{digits}f} [{size - half:.{digits}f}, {size + half:.{digits}f}]"
        return f"{best}, the best of {family} methods, lowers the {measure['label']} by {shown} "
    runs = [run for run in record["runs"] if run["method"] == "none"]
    losses = np.array([[run["train"]["loss"], run["test"]["loss"]] for run in runs])
    excess = (losses[:, 1] - losses[:, 0]) / losses[:, 1].mean()
    high = excess.mean() + stats.t.ppf(0.975, len(runs) - 1) * stats.sem(excess)
    if high < 0.1:
        return "The baseline does not overfit"
    verb = "raises" if measure["higher_is_better"] else "lowers"
    return f"No method {verb} the {measure['label']} significantly"


def test_the_studies_are_of_three_kinds() -> None:
    headlines = [write_headline(name, judge(name)) for name in ("regression", "auc", "diverged")]
    assert headlines[0].startswith("weight-decay(coefficient=0.1), the best of 2 methods, lowers")
    assert headlines[1] == "No method raises the test AUC significantly"
    assert headlines[2] == "The baseline does not overfit"
    states = {run["status"] for run in load("diverged")["runs"]}
    assert states == {"finished", "diverged"}

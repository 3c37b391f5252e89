"""Verdicts on finished runs equal those of numpy and scipy alone."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import dropkit
from dropkit.study import StudyError
from dropkit.study.analysis.effect import measure_effect
from dropkit.study.analysis.family import claim_all
from helpers.finished_runs import draw_runs, predict_rows, write_csv

GAINS = (0.0, 0.03, 0.001)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def adjust(p_values: list[float]) -> list[float]:
    """Holm's correction, in the words of his paper."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()


def test_paired_runs_as_scipy_has_them(rng: np.random.Generator) -> None:
    frame = pd.DataFrame(draw_runs(rng, 3, 6, gains=GAINS))
    judgment = dropkit.judge(frame.sample(frac=1, random_state=1))
    table, wide = judgment.table(), frame.pivot(index="seed", columns="method", values="test_acc")
    p_values = []
    both = wide[["m1", "m2"]].sub(wide["none"], axis=0)
    for method, other in (("m1", "m2"), ("m2", "m1")):
        differences = both[method]
        # A fifth of the other method's variance, on 5 + 5/4 degrees of freedom (Smyth 2004).
        own, others = differences.var(), both[other].var()
        variance = max(own, 0.8 * own + 0.2 * others)
        t = abs(differences.mean()) / np.sqrt(variance / 6)
        p_values.append(2 * stats.t.sf(t, 6.25))
        low, high = stats.t.interval(0.95, 5, differences.mean(), stats.sem(differences))
        row = table.loc[method]
        assert row.difference == pytest.approx(differences.mean())
        assert (row.difference_low, row.difference_high) == pytest.approx((low, high))
    assert table.p_holm[["m1", "m2"]].tolist() == pytest.approx(adjust(p_values))
    assert judgment.verdict.headline.startswith("m1, the best of 2 methods, raises")
    assert "Runs with the same seed are compared in pairs." in judgment.notes


def test_unpaired_runs_are_welchs(rng: np.random.Generator) -> None:
    frame = pd.DataFrame(draw_runs(rng, 3, 6, gains=GAINS)).drop(columns="seed")
    judgment = dropkit.judge(frame)
    groups = {name: group.test_acc for name, group in frame.groupby("method")}
    found = [
        stats.ttest_ind(groups[name], groups["none"], equal_var=False) for name in ("m1", "m2")
    ]
    table = judgment.table()
    assert table.p_holm[["m1", "m2"]].tolist() == pytest.approx(adjust([f.pvalue for f in found]))
    low, high = found[0].confidence_interval()
    assert (table.difference_low["m1"], table.difference_high["m1"]) == pytest.approx((low, high))
    assert any("there is no column of seeds" in note for note in judgment.notes)


def test_methods_with_other_seeds_are_not_paired(rng: np.random.Generator) -> None:
    rows = draw_runs(rng, 2, 5)
    for row in rows:
        row["seed"] += 10 * (row["method"] == "m1")
    judgment = dropkit.judge(rows)
    frame = pd.DataFrame(rows)
    groups = [frame[frame.method == name].test_acc for name in ("m1", "none")]
    expected = stats.ttest_ind(*groups, equal_var=False).pvalue
    assert judgment.table().p["m1"] == pytest.approx(expected)
    assert any("different seeds: Welch's test is used" in note for note in judgment.notes)


def test_seeds_that_match_in_part_are_paired_or_not_as_asked(rng: np.random.Generator) -> None:
    rows = [row for row in draw_runs(rng, 2, 6) if (row["method"], row["seed"]) != ("none", 3)]
    with pytest.raises(
        StudyError, match=r"unequal seeds: none lacks 3; .*paired=True.*paired=False"
    ):
        dropkit.judge(rows)
    wide = pd.DataFrame(rows).pivot(index="seed", columns="method", values="test_acc")
    paired = dropkit.judge(rows, paired=True).table().loc["m1"]
    both = wide.dropna()
    assert paired.p == pytest.approx(stats.ttest_rel(both.m1, both.none).pvalue)
    apart = dropkit.judge(rows, paired=False).table().loc["m1"]
    assert apart.difference == pytest.approx(wide.m1.mean() - wide.none.mean())


def test_folds_share_training_rows(rng: np.random.Generator) -> None:
    rows = draw_runs(rng, 2, 5, gains=(0, 0.02))
    folds = [{"fold": row.pop("seed"), **row} for row in rows]
    judgment = dropkit.judge(folds)
    wide = pd.DataFrame(folds).pivot(index="fold", columns="method", values="test_acc")
    differences = wide.m1 - wide.none
    # Nadeau and Bengio (2003): the variance of the mean is s²(1/5 + n_test/n_train), with 1/4.
    t = differences.mean() / (differences.std() * np.sqrt(1 / 5 + 1 / 4))
    assert judgment.table().p["m1"] == pytest.approx(2 * stats.t.sf(abs(t), 4))
    assert any("The folds share training rows" in note for note in judgment.notes)
    # Repeated twice, with two seeds: ten values of the same five folds.
    again = [{**row, "seed": seed} for row in folds for seed in (0, 1)]
    for row in again:
        row["test_acc"] += 0.01 * rng.normal()
    wide = pd.DataFrame(again).pivot(index=["seed", "fold"], columns="method", values="test_acc")
    differences = wide.m1 - wide.none
    t = differences.mean() / (differences.std() * np.sqrt(1 / 10 + 1 / 4))
    assert dropkit.judge(again).table().p["m1"] == pytest.approx(2 * stats.t.sf(abs(t), 9))


def test_several_data_sets_as_scipy_has_them(rng: np.random.Generator) -> None:
    frame = pd.DataFrame(draw_runs(rng, 4, 2, gains=(0, 0.03, 0.004, -0.02), datasets=12))
    judgment = dropkit.judge(frame)
    wide = frame.pivot_table(index="dataset", columns="method", values="test_acc")
    others = ["m1", "m2", "m3"]
    p_values = [stats.wilcoxon(wide[name], wide["none"]).pvalue for name in others]
    sets = judgment.sets
    assert sets is not None
    found = {summary.method: summary for summary in sets.summaries}
    assert [found[name].p_holm for name in others] == pytest.approx(adjust(p_values))
    ranks = wide.rank(axis=1, ascending=False).mean()
    assert {name: s.rank for name, s in found.items()} == pytest.approx(ranks.to_dict())
    assert sets.friedman is not None
    friedman = stats.friedmanchisquare(*(wide[name] for name in wide))
    assert sets.friedman.statistic == pytest.approx(friedman.statistic)
    assert sets.critical_difference == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 12)), abs=1e-3)
    assert judgment.verdict.headline.startswith(
        "m1 raises the test accuracy over 12 data sets, by a median of "
    )
    assert any(line.startswith("m3 lowers") for line in judgment.verdict.details)


def test_few_data_sets_are_judged_one_by_one(rng: np.random.Generator) -> None:
    frame = pd.DataFrame(draw_runs(rng, 3, 5, gains=(0, 0.05, 0), datasets=3))
    judgment = dropkit.judge(frame)
    p_values = []
    for _, group in frame.groupby("dataset"):
        wide = group.pivot(index="seed", columns="method", values="test_acc")
        both = wide[["m1", "m2"]].sub(wide["none"], axis=0).to_numpy().T
        claims = claim_all([measure_effect(each) for each in both], new_rows=False)
        p_values += [claim.p for claim in claims if claim.p is not None]
    assert judgment.sets is not None
    found = [each.p_holm for each in judgment.sets.differences]
    assert found == pytest.approx(adjust(p_values))
    first = sum(p < 0.05 for p in adjust(p_values)[::2])
    assert judgment.verdict.headline == (
        f"m1 raises the test accuracy significantly on {first} of 3 data sets"
    )
    assert any(
        "3 data sets are too few for one test over all of them" in line
        for line in judgment.verdict.details
    )
    assert any(
        line.startswith("A run of m1 is better than a run of the baseline with probability ")
        and line.endswith(" points higher than the baseline's.")
        for line in judgment.verdict.details
    )


def test_runs_that_do_not_vary_are_not_called_single() -> None:
    runs = [
        {"dataset": data, "method": method, "seed": seed, "accuracy": accuracy}
        for data in "ab"
        for seed in range(4)
        for method, accuracy in (("none", 0.5), ("m1", 0.75))
    ]
    judgment = dropkit.judge(runs)
    assert judgment.verdict.headline.startswith(
        "On every data set, the runs vary too little for a test: add runs, or use"
    )


def test_a_terminal_does_not_promise_intervals_over_few_data_sets(
    rng: np.random.Generator, capsys: pytest.CaptureFixture[str]
) -> None:
    dropkit.judge(draw_runs(rng, 2, 3, datasets=3)).show()
    few = " ".join(capsys.readouterr().out.split())
    assert "The difference is the median over the data sets; rank 1 is the best." in few
    assert "too few data sets for p-values over data sets: 6 are needed." in few
    dropkit.judge(draw_runs(rng, 2, 3, datasets=8)).show()
    assert "over the data sets, with its 95 % interval; rank 1" in " ".join(
        capsys.readouterr().out.split()
    )


def test_every_method_is_worse_over_the_data_sets(rng: np.random.Generator) -> None:
    runs = draw_runs(rng, 3, 2, gains=(0, -0.3, -0.4), datasets=12)
    headline = dropkit.judge(runs).verdict.headline
    assert headline == "Every method lowers the test accuracy over 12 data sets"


def test_the_reason_for_unpaired_runs_is_true(rng: np.random.Generator) -> None:
    runs = draw_runs(rng, 2, 4)
    asked = dropkit.judge(runs, paired=False)
    assert "Runs are not paired, as you asked: Welch's test is used." in asked.notes
    other = [row | {"seed": row["seed"] + 10} if row["method"] == "m1" else row for row in runs]
    differ = "Runs are not paired, because the methods have different seeds: Welch's test is used."
    assert differ in dropkit.judge(other).notes
    both = [{**row, "dataset": "a"} for row in runs] + [{**row, "dataset": "b"} for row in other]
    (note,) = (note for note in dropkit.judge(both).notes if "not paired" in note)
    assert note.startswith("Runs on b are not paired, because the methods have different seeds")


def test_more_runs_are_advised_without_saying_that_dropkit_keeps_any() -> None:
    runs = [
        {"method": method, "seed": seed, "accuracy": accuracy}
        for method, several in {"none": (0.8, 0.7, 0.75), "m1": (0.75, 0.81, 0.74)}.items()
        for seed, accuracy in enumerate(several)
    ]
    assert dropkit.judge(runs).verdict.step.text == "Run more seeds."


def test_a_caller_from_python_reads_of_arguments(rng: np.random.Generator) -> None:
    runs = [{"method": r["method"], "value": r["test_acc"]} for r in draw_runs(rng, 2, 3)]
    with pytest.raises(StudyError, match="add higher_is_better=True or higher_is_better=False"):
        dropkit.judge(runs)
    notes = dropkit.judge(runs, higher_is_better=True).notes
    assert any("no column of seeds (seed_column): Welch's" in note for note in notes)


def test_one_run_on_each_of_few_data_sets_says_so(rng: np.random.Generator) -> None:
    headline = dropkit.judge(draw_runs(rng, 2, 1, datasets=3)).verdict.headline
    assert headline.startswith(
        "One run on each of 3 data sets cannot distinguish a difference from"
    )


def test_two_methods_on_data_sets_with_one_run_each(rng: np.random.Generator) -> None:
    # Gains of one sign on all of six sets: 2/2⁶.
    judgment = dropkit.judge(draw_runs(rng, 2, 1, gains=(0, 0.5), datasets=6))
    assert judgment.sets is not None
    assert judgment.sets.friedman is None
    assert judgment.verdict.headline.endswith("(better on 6, worse on 0; p = 0.031)")


def test_predictions_are_judged_row_by_row(rng: np.random.Generator) -> None:
    rows = predict_rows(rng, {"none": 0.5, "l1": 0.1}, seeds=range(4))
    judgment = dropkit.judge(rows)
    frame = pd.DataFrame(rows)
    errors = (frame.y_true != frame.y_pred).groupby([frame.model, frame.seed]).mean()
    expected = stats.ttest_rel(errors["l1"], errors["none"]).pvalue
    table = judgment.table()
    assert table.p["l1"] >= expected - 1e-12  # other rows as well
    assert table.error["l1"] == pytest.approx(errors["l1"].mean())
    assert table.claim_low["l1"] <= table.difference_low["l1"] + 1e-9  # other rows as well
    assert judgment.verdict.headline.startswith("l1 lowers the test error by")


def test_predicted_numbers_have_a_root_mean_squared_error(rng: np.random.Generator) -> None:
    rows = [
        {"model": m, "seed": s, "prediction": t + e * rng.normal(), "target": t}
        for m, e in (("none", 1.0), ("l1", 0.5))
        for s in range(3)
        for t in (0.25, 1.5, 3.0)
    ]
    frame = pd.DataFrame(rows)
    squared = (frame.prediction - frame.target) ** 2
    expected = np.sqrt(squared.groupby([frame.model, frame.seed]).mean())
    table = dropkit.judge(frame).table()
    assert table.rmse["l1"] == pytest.approx(expected["l1"].mean(), rel=1e-6)


def test_the_direction_decides_who_is_best(rng: np.random.Generator) -> None:
    rows = draw_runs(rng, 2, 6, gains=(0, 0.05))
    renamed = [{**row, "test_loss": row["test_acc"]} for row in rows]
    for row in renamed:
        del row["test_acc"]
    assert dropkit.judge(renamed).verdict.headline.startswith("m1 raises the test loss by")
    assert "Lower is better." in dropkit.judge(renamed).notes[0]
    asked = dropkit.judge(renamed, higher_is_better=True)
    assert "Higher is better." in asked.notes[0]


def test_the_baseline_is_given_or_recognized_by_its_name(rng: np.random.Generator) -> None:
    rows = draw_runs(rng, 3, 5)
    assert dropkit.judge(rows).to_dict()["baseline"] == "none"
    asked = dropkit.judge(rows, baseline="m2")
    assert asked.to_dict()["baseline"] == "m2"
    assert asked.table().difference.isna().tolist() == [True, False, False]
    last_first = [{**row, "method": row["method"].replace("none", "x")} for row in rows]
    assert dropkit.judge(last_first).to_dict()["baseline"] == "x"


def test_a_difference_too_small_to_matter(rng: np.random.Generator) -> None:
    rows = draw_runs(rng, 2, 8, spread=0.001)
    headline = dropkit.judge(rows, worthwhile=1).verdict.headline
    assert headline == (
        "No difference that matters: m1 is within 1.00 points of the baseline's test accuracy"
    )
    assert not dropkit.judge(rows).verdict.headline.startswith("No difference that matters")


def test_a_judgment_is_printed_shown_and_saved(
    rng: np.random.Generator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "<script>[red]\x1b[2J"
    for datasets in (1, 3, 8):
        rows = draw_runs(rng, 3, 3, gains=GAINS, datasets=datasets)
        rows = [{**row, "method": row["method"].replace("m2", hostile)} for row in rows]
        judgment = dropkit.judge(rows)
        judgment.show()
        shown = capsys.readouterr().out
        assert shown.split()[:4] == judgment.verdict.headline.split()[:4]
        assert "\x1b[2J" not in shown
        assert "[red]" in shown
        judgment.save(tmp_path)
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert judgment.verdict.headline.split("[")[0] in page
        assert "<script>" not in page
        assert json.loads((tmp_path / "judgment.json").read_text()) == json.loads(
            json.dumps(judgment.to_dict())
        )
        assert str(judgment).splitlines()[0] == judgment.verdict.headline
        assert "<table" in judgment._repr_html_()


def test_files_of_every_kind_are_read_alike(rng: np.random.Generator, tmp_path: Path) -> None:
    rows = draw_runs(rng, 2, 4, gains=(0, 0.02))
    frame = pd.DataFrame(rows)
    expected = str(dropkit.judge(frame))
    write_csv(tmp_path / "a.csv", rows)
    write_csv(tmp_path / "a.tsv", rows, "\t")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True, double_precision=15)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    german = frame.to_csv(index=False, sep=";", decimal=",")
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + german.encode())
    for name in ("a.csv", "a.tsv", "a.parquet", "a.jsonl", "a.json", "b.csv"):
        assert str(dropkit.judge(tmp_path / name)) == expected, name
    halves = [write_csv(tmp_path / f"half{i}.csv", rows[i::2]) for i in range(2)]
    assert str(dropkit.judge(halves)) == expected
    assert str(dropkit.judge(frame.set_index(["method", "seed"]))) == expected

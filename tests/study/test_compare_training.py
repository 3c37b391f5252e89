"""A study of a user's own training function: verdict, resuming, workers, what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from dropkit.cli import run as dropkit
from dropkit.study import Outcome, Results, StudyError, TrainingRun, compare_training
from dropkit.study.report import render
from helpers.fabricated import untimed
from helpers.training import BODY, write_training

METHODS = "as-is,dropout,weight-decay"


def test_the_verdict_is_that_of_an_independent_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_training(tmp_path)
    words = ["compare", name, "--methods", METHODS, "--seeds", "6", "--jobs", "1"]
    assert dropkit([*words, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out

    # The same numbers with numpy and scipy alone.
    def find_errors(method: str, seed: int) -> np.ndarray:
        rng = np.random.default_rng([seed, len(method)])
        return (rng.random(40) < (0.1 if "dropout" in method else 0.3)).astype(float)

    rows = {m: np.array([find_errors(m, s) for s in range(6)]) for m in METHODS.split(",")}
    table = {method: errors.mean(1) for method, errors in rows.items()}
    results = Results.load(tmp_path / "run")
    p_values = {}
    for summary in results.analysis.summaries:
        errors = table[summary.method]
        assert summary.value is not None
        assert summary.value.mean == pytest.approx(errors.mean())
        if summary.method == "as-is":
            continue
        difference = errors - table["as-is"]
        # A fifth of the variance is the other method's, on 5 + 5/4 degrees of freedom.
        (other,) = set(table) - {"as-is", summary.method}
        spreads = [np.var(table[m] - table["as-is"], ddof=1) for m in (summary.method, other)]
        by_seed = max(spreads[0], 0.8 * spreads[0] + 0.2 * spreads[1]) / 6
        by_row = np.var((rows[summary.method] - rows["as-is"]).mean(0), ddof=1) / 40
        freedom = (by_seed + by_row) ** 2 / (by_seed**2 / 6.25 + by_row**2 / 39)
        size = abs(difference.mean())
        p_values[summary.method] = max(
            2 * stats.t.sf(size / np.sqrt(by_seed), 6.25),
            2 * stats.t.sf(size / np.sqrt(by_seed + by_row), freedom),
        )
        assert summary.difference is not None
        assert summary.difference.mean == pytest.approx(difference.mean())
        assert summary.p == pytest.approx(p_values[summary.method])
        half = stats.t.ppf(0.975, 5) * difference.std(ddof=1) / np.sqrt(6)
        assert summary.difference.half == pytest.approx(half)
    assert p_values["dropout"] < 0.05 < min(2 * p_values["dropout"], p_values["weight-decay"])
    gain = 100 * (table["as-is"].mean() - table["dropout"].mean())
    assert said.startswith(f"dropout lowers the test error by {gain:.2f} points")
    assert "on these 40 test rows" in " ".join(said.split())
    assert (results.baseline, results.record.starts_alike) == ("as-is", True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Paired: runs with the same seed started with the same weights and first batch" in page
    assert "train.py:train" in page
    assert (tmp_path / "run" / "results.csv").read_text().count("\n") == 19


def test_a_killed_study_resumes_with_equal_numbers(tmp_path: Path) -> None:
    name = write_training(tmp_path)
    whole = compare_training(name, methods=METHODS, seeds=3, jobs=1, tune=2, out=tmp_path / "whole")
    count, out = tmp_path / "count", tmp_path / "run"
    kill = f"""
with open({str(count)!r}, "a") as file:
    print(run.method, run.seed, file=file)
if open({str(count)!r}).read().count("\\n") == 9:
    os.kill(os.getpid(), 9)
"""
    write_training(tmp_path, kill + BODY)
    code = f"""
from dropkit.study import compare_training
compare_training({name!r}, methods={METHODS!r}, seeds=3, jobs=1, tune=2, out={str(out)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -9
    kept = len(list(out.glob("*/*.json")))
    assert kept == 6  # after two short runs of the first look, of which none is kept
    resumed = compare_training(name, methods=METHODS, seeds=3, jobs=1, tune=2, out=out)
    assert untimed(resumed).runs == untimed(whole).runs
    assert resumed.tuned == whole.tuned
    assert str(resumed) == str(whole)
    made = count.read_text().splitlines()
    assert len(made) == 2 + 27 + 1  # the one that was killed is repeated, and no other


def test_workers_train_the_same(tmp_path: Path) -> None:
    name = write_training(tmp_path, "print('to standard error')\n" + BODY)
    one = compare_training(name, methods=METHODS, seeds=2, jobs=1)
    two = compare_training(name, methods=METHODS, seeds=2, jobs=2, time_limit=10)
    assert untimed(one).runs == untimed(two).runs


def test_what_a_function_prints_does_not_mix_with_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write_training(tmp_path, "print('chatter')\n" + BODY)
    assert (
        dropkit(["compare", name, "--seeds", "2", "--jobs", "1", "--out", str(tmp_path / "r")]) == 0
    )
    said = capsys.readouterr()
    assert "chatter" in said.err
    assert "chatter" not in said.out


def own_training(run: TrainingRun) -> Outcome:
    model = run.regularize(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    model(torch.randn(3, 2))
    value = 20.0 + run.seed + (0.01 * run.seed + 1 if "dropout" in run.method else 0)
    return Outcome(metrics={"bleu": value}, higher_is_better=True)


def optional(run: TrainingRun | None = None) -> Outcome:
    return own_training(run or TrainingRun())


def test_a_function_that_a_script_calls_without_a_run_is_compared_too() -> None:
    assert optional().metrics == {"bleu": 20.0}
    results = compare_training(optional, methods=["as-is", "dropout"], seeds=2, jobs=1)
    assert [run.status for run in results.runs] == ["finished"] * 4


def test_a_metric_of_ones_own_that_should_be_high() -> None:
    results = compare_training(own_training, methods=["as-is", "dropout"], seeds=4, jobs=1)
    assert str(results).startswith("dropout raises the test bleu by 1.0")
    assert results.data.rows_test == 0
    assert results.of("dropout")[2].test.value == pytest.approx(23.02)  # type: ignore[union-attr]
    assert "other starts" not in {alert.kind for alert in results.analysis.alerts}
    assert results.command.startswith("dropkit.study.compare_training(own_training, ...)")


def test_every_method_has_equally_many_trials_and_the_functions_numbers_are_searched(
    tmp_path: Path,
) -> None:
    name = write_training(tmp_path)
    words = ["compare", name, "--methods", "as-is,dropout(p=0.3)", "--seeds", "2", "--jobs", "1"]
    assert dropkit([*words, "--tune", "4", "--out", str(tmp_path / "run")]) == 0
    results = Results.load(tmp_path / "run")
    assert {each.trials for each in results.tuning.values()} == {8}
    assert {each.epochs for each in results.tuning.values()} == {24}
    trials = [json.loads(f.read_bytes())["run"] for f in (tmp_path / "run/trials").iterdir()]
    assert all(trial["test"] is None for trial in trials)
    assert {trial["arguments"]["share"] for trial in trials} >= {0.3}
    assert results.tuned["as-is"][0].keys() == {"share"}
    assert results.tuned["dropout(p=0.3)"][1].keys() == {"share", "dropout.p"}
    for seed, tuned in enumerate(results.tuned["as-is"]):
        mine = [t for t in trials if (t["method"], t["seed"]) == ("as-is", seed)]
        assert tuned["share"] == min(t["arguments"]["share"] for t in mine)
        assert results.of("as-is")[seed].arguments["share"] == tuned["share"]


def test_a_function_that_does_not_repeat_itself_is_reported(tmp_path: Path) -> None:
    name = write_training(
        tmp_path, "begin(run)\nreturn outcome(run, np.random.default_rng().random())"
    )
    notes = compare_training(name, methods="as-is,dropout", seeds=2, jobs=1).data.notes
    assert "not repeatable: run twice with the same method and seed" in notes[0]


def test_what_one_run_leaves_to_the_next_is_reported(tmp_path: Path) -> None:
    name = write_training(
        tmp_path,
        "global calls\ncalls = globals().get('calls', 0) + 1\nreturn outcome(run, calls / 10)",
    )
    notes = compare_training(name, methods="as-is", seeds=1, jobs=1).data.notes
    assert "not repeatable" in notes[0]


def test_methods_that_do_not_start_alike_are_reported(tmp_path: Path) -> None:
    name = write_training(
        tmp_path, "torch.rand(len(run.method))\nmodel = begin(run)\nreturn outcome(run, 0.1)"
    )
    results = compare_training(name, methods="as-is,dropout", seeds=2, jobs=1)
    assert results.record.starts_alike is False
    assert "did not start equally" in str(results)
    assert "2 paired" not in " ".join(render(results.analysis).split())


def test_the_first_look_takes_one_epoch_where_it_can(tmp_path: Path) -> None:
    file = tmp_path / "epochs"
    body = f"""
for epoch in run.epochs(5):
    open({str(file)!r}, "a").write(run.method + " ")
return outcome(run, 0.1)
"""
    compare_training(write_training(tmp_path, body), methods="as-is", seeds=1, jobs=1)
    assert file.read_text().split() == ["as-is"] * (1 + 1 + 5)


def test_a_run_that_diverged_is_counted_and_not_scored(tmp_path: Path) -> None:
    body = """
begin(run)
for epoch in run.epochs(3):
    run.log(train_loss=float("nan") if "dropout" in run.method else 1.0)
return study.Outcome(np.full(40, np.nan), TARGETS) if "dropout" in run.method else outcome(run, 0.1)
"""
    results = compare_training(
        write_training(tmp_path, body), methods="as-is,dropout", seeds=2, jobs=1
    )
    assert [run.status for run in results.of("dropout")] == ["diverged"] * 2
    assert len(results.of("dropout")[0].curve.step) == 1


def test_a_training_that_never_learns_is_no_comparison(tmp_path: Path) -> None:
    body = "begin(run)\nreturn study.Outcome(np.zeros(40), (TARGETS + np.arange(40) // 30) // 2)"
    results = compare_training(
        write_training(tmp_path, body), methods="as-is,dropout", seeds=2, jobs=1
    )
    verdict = results.analysis.verdict
    assert verdict.headline == (
        "No method beats a constant prediction: the test error of always predicting the majority "
        "class is 12.50 %"
    )
    assert verdict.details == (
        "Look at the training losses: do the networks learn the training rows?",
    )
    assert "lr" not in verdict.step.command


def test_the_mean_is_what_a_regression_must_beat(tmp_path: Path) -> None:
    body = """
begin(run)
numbers = np.arange(40.0)
return study.Outcome(np.full(40, 19.5) + run.seed, numbers)
"""
    results = compare_training(
        write_training(tmp_path, body), methods="as-is,dropout", seeds=2, jobs=1
    )
    assert results.data.constant_value == pytest.approx(np.arange(40.0).std())
    assert str(results).startswith(
        "No method beats a constant prediction: the test RMSE of always predicting the mean"
    )


def test_what_was_not_logged_is_not_shown(tmp_path: Path) -> None:
    name = write_training(tmp_path, "begin(run)\nreturn outcome(run, 0.1)")
    assert "reached" not in str(compare_training(name, methods="as-is,dropout", seeds=2, jobs=1))


FAULTS: dict[str, tuple[str, str]] = {
    "nothing": ("pass", "returned nothing; end it with return study.Outcome(predictions, targets)"),
    "a number": ("return 0.5", "returned a float"),
    "an error": ("begin(run)\nrun.undefined", "fails (train.py, line 26): AttributeError"),
    "the end": ("sys.exit(3)", "fails (train.py, line 25): SystemExit"),
    "NaN": ("return study.Outcome([float('nan')], [0.5])", "predictions are NaN"),
    "a metric": ("return study.Outcome([0, 1], [0, 1], metric='f2')", "unknown metric 'f2'"),
    "no direction": ("return study.Outcome(metrics={'bleu': 1.0})", "is a higher bleu better"),
    "no model": ("return outcome(run, 0.1)", "needs run.regularize(model), but the training"),
    "no place": (
        "run.regularize(nn.Linear(2, 2))\nreturn outcome(run, 0.1)",
        "dropout does not suit the model",
    ),
    "test rows": ("run.log(test_loss=1.0)", "unexpected keyword argument 'test_loss'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_function_is_refused_before_the_study_begins(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, message = FAULTS[fault]
    words = ["compare", write_training(tmp_path, body), "--methods", "as-is,dropout"]
    assert dropkit([*words, "--jobs", "1", "--out", str(tmp_path / "run")]) == 2
    line = capsys.readouterr().err.strip()
    assert message in line
    assert "\n" not in line
    assert not list((tmp_path / "run").glob("runs/*"))


LATER = {
    "other lengths": (
        "return study.Outcome(TARGETS[:30], TARGETS[:30])",
        "has 30 test rows, but the first run had 40",
    ),
    "other rows": ("return study.Outcome(TARGETS, 1 - TARGETS)", "the test targets differ"),
    "other metric": ("return study.Outcome(TARGETS, TARGETS, metric='accuracy')", "is scored by"),
    "an error": ("1 / 0", "ZeroDivisionError"),
    "NaN": ("return study.Outcome([0.5] * 39 + [float('nan')], TARGETS)", "NaN or infinite"),
}


@pytest.mark.parametrize("fault", LATER)
def test_a_run_that_fails_keeps_no_other_from_being_done(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, message = LATER[fault]
    faulty = f"begin(run)\nif (run.method, run.seed) == ('dropout', 1):\n    {body}\n"
    name = write_training(tmp_path, faulty + "return outcome(run, 0.1)")
    words = ["compare", name, "--methods", "as-is,dropout", "--seeds", "3", "--jobs", "1"]
    assert dropkit([*words, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "[5/6]" in said
    assert message in said.partition("dropout, seed 1: ")[2]
    assert "1 of 6 trainings failed" in said
    assert len(list((tmp_path / "run" / "runs").iterdir())) == 5


REFUSED: dict[str, tuple[list[str], str]] = {
    "no name": (["train.py"], "name the training function in train.py, as train.py:train; it has"),
    "no file": (["trian.py:train"], "no file 'trian.py': did you mean 'train.py'"),
    "no function": (["train.py:trian"], "has no function 'trian': did you mean 'train'"),
    "arguments": (["train.py:outcome"], "must take one argument, the run of a study"),
    "a setting": (["train.py:train", "--lr", "0.1"], "lr is a setting of the built-in training"),
    "a method": (
        ["train.py:train", "--methods", "none,ensemble"],
        "ensemble does not work in your own",
    ),
    "no such method": (["train.py:train", "--methods", "none,droput"], "did you mean 'dropout'"),
    "too little logged": (["train.py:quiet", "--tune", "2"], "tuning needs the validation loss"),
    "too long": (["train.py:slow", "--time-limit", "0.0005"], "longer than the time limit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_asked_wrongly_is_refused_in_one_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_training(tmp_path)
    with (tmp_path / "train.py").open("a") as file:
        file.write("\ndef quiet(run):\n    begin(run)\n    return outcome(run, 0.1)\n")
        file.write("\ndef slow(run):\n    import time\n    time.sleep(60)\n")
    monkeypatch.chdir(tmp_path)
    words, message = REFUSED[case]
    assert dropkit(["compare", *words, "--jobs", "1"]) == 2
    line = capsys.readouterr().err.strip()
    assert message in line
    assert "\n" not in line


def test_a_folder_belongs_to_one_function(tmp_path: Path) -> None:
    name, out = write_training(tmp_path), tmp_path / "run"
    compare_training(name, methods="as-is", seeds=1, jobs=1, out=out)
    write_training(tmp_path, BODY + "\n# changed")
    with pytest.raises(StudyError, match="holds a study of other data or another"):
        compare_training(name, methods="as-is", seeds=1, jobs=1, out=out)


def test_the_study_file_repeats_it(tmp_path: Path) -> None:
    name, out = write_training(tmp_path), tmp_path / "run"
    words: list[Any] = ["compare", name, "--methods", "as-is,none", "--seeds", "1", "--jobs", "1"]
    assert dropkit([*words, "--out", str(out)]) == 0
    again = ["compare", str(out / "study.toml"), "--jobs", "1", "--out", str(tmp_path / "again")]
    assert dropkit(again) == 0
    assert untimed(Results.load(tmp_path / "again")) == untimed(Results.load(out))
    assert dropkit(["report", str(out)]) == 0

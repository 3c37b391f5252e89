"""A whole study, small: pairing, resuming, repeating, diverging, and the same from a shell."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dropkit import cli
from dropkit.study import Results, Run, Study, StudyError, compare
from dropkit.study import run as engine
from dropkit.study.report import render
from dropkit.study.training.guard import Failed
from dropkit.study.training.work import Job, Work
from helpers.fabricated import untimed
from helpers.processes import heed_ctrl_c
from helpers.waiting import HANGS

SMALL = {"methods": "none,dropout", "seeds": 2, "epochs": 3, "hidden": (16,), "jobs": 1}


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6)).astype(np.float32)
    return X, (X[:, 0] + 0.5 * rng.normal(size=120) > 0).astype(int)


def one(results: Results, method: str, seed: int = 0) -> Run:
    return next(run for run in results.runs if (run.method, run.seed) == (method, seed))


def test_the_same_study_twice_and_in_parallel(rows: tuple[np.ndarray, np.ndarray]) -> None:
    first = compare(*rows, **SMALL)
    assert untimed(compare(*rows, **SMALL)) == untimed(first)
    assert untimed(compare(*rows, **{**SMALL, "jobs": 2})) == untimed(first)


def test_trainings_with_other_arguments_than_are_asked_for_are_made_again(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SMALL, "methods": "none,weight-decay", "tune": 4, "out": tmp_path / "run"}
    compare(*rows, **{**settings, "seeds": 1})
    # Another version of the search, say, that draws otherwise.
    search = engine.search
    monkeypatch.setattr(engine, "search", lambda *what, seed: search(*what, seed=seed + 7))
    resumed = compare(*rows, **settings)
    fresh = compare(*rows, **{**settings, "out": tmp_path / "fresh"})
    same = {"study": resumed.study, "command": resumed.command, "looks": (1, 2)}
    assert untimed(resumed) == replace(untimed(fresh), **same)
    for run in resumed.runs:
        tuned = resumed.tuned[run.method][run.seed]
        assert run.arguments["base_lr"] == tuned["lr"]
        assert run.arguments | {k: v for k, v in tuned.items() if k != "lr"} == run.arguments


def test_workers_find_the_model_of_the_folder_that_was_changed_to(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for width in (2, 3):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / "net.py").write_text(
            "from torch import nn\n"
            f"make = lambda: nn.Sequential(nn.Linear(6, {width}), nn.Linear({width}, 2))\n"
        )
        monkeypatch.chdir(folder)
        settings = {**SMALL, "methods": "none", "model": "net.py:make", "epochs": 1, "jobs": 2}
        assert len(compare(*rows, **settings).runs) == 2


def test_runs_of_one_seed_are_paired(rows: tuple[np.ndarray, np.ndarray]) -> None:
    # Dropout at rate zero with the plain learning rate is the plain net, to the last bit.
    null = "dropout(p=0,input=0)"
    results = compare(*rows, **{**SMALL, "methods": f"none,{null}"})
    for seed in range(2):
        plain, paired = one(results, "none", seed), one(results, null, seed)
        assert plain.curve == paired.curve
        assert plain.test == paired.test
        assert plain.row_errors == paired.row_errors
    assert one(results, "none", 0).curve != one(results, "none", 1).curve


def test_results_survive_json(rows: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    results = compare(*rows, **SMALL, out=tmp_path / "run")
    assert Results.load(tmp_path / "run") == results


def test_an_interrupted_study_repeats_nothing(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = compare(*rows, **SMALL, out=tmp_path / "a")
    from dropkit.study.training import work

    trained = []
    real = work.train_once

    def interrupted(*args: object, **kwargs: object) -> Run:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(args[3:5])
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "train_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(*rows, **SMALL, out=tmp_path / "b")
    trained.append("interrupted")
    resumed = compare(*rows, **SMALL, out=tmp_path / "b")
    assert len(trained) == 3 + 2
    assert len(set(map(str, trained))) == len(trained)
    same = {"study": {}, "command": ""}  # the run folder's own path is in both
    assert replace(untimed(resumed), **same) == replace(untimed(undisturbed), **same)


def test_more_seeds_reuse_the_finished_ones(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    few = compare(*rows, **SMALL, out=tmp_path / "run")
    more = compare(*rows, **{**SMALL, "seeds": 3}, out=tmp_path / "run")
    assert [r for r in more.runs if r.seed < 2] == list(few.runs)  # timings included


def test_a_diverging_method_is_marked_and_the_study_goes_on(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    wild = "larger-steps(lr=1e+30)"
    results = compare(*rows, **{**SMALL, "methods": f"none,{wild},ensemble(members=2)"})
    assert [run.status for run in results.of(wild)] == ["diverged", "diverged"]
    assert results.of(wild)[0].test is None
    assert all(run.status == "finished" for run in results.runs if run.method != wild)


def test_early_stopping_scores_its_best_epoch(rows: tuple[np.ndarray, np.ndarray]) -> None:
    method = "early-stopping(patience=2)"
    settings = {**SMALL, "epochs": 60, "lr": 0.5, "hidden": (64, 64), "seeds": 1}
    run = one(compare(*rows, **{**settings, "methods": f"none,{method}"}), method)
    losses = run.curve.val_loss
    assert len(losses) < 60
    assert run.selected_epoch == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert run.val is not None
    assert run.val.loss == pytest.approx(min(losses), rel=1e-6)


def test_best_weights_are_one_rule_for_all_methods(rows: tuple[np.ndarray, np.ndarray]) -> None:
    settings = {**SMALL, "epochs": 30, "lr": 0.5, "seeds": 1}
    for run in compare(*rows, **settings, weights="best").runs:
        assert run.selected_epoch == int(np.argmin(run.curve.val_loss)) + 1
    for run in compare(*rows, **settings).runs:
        assert run.selected_epoch == 30


def test_an_ensemble_averages_and_pays_for_its_members(rows: tuple[np.ndarray, np.ndarray]) -> None:
    results = compare(*rows, **{**SMALL, "methods": "none,ensemble(members=3)", "seeds": 1})
    plain, ensemble = results.runs
    assert ensemble.steps == 3 * plain.steps
    assert ensemble.curve.step == tuple(3 * step for step in plain.curve.step)
    assert ensemble.val is not None
    assert ensemble.val.loss == pytest.approx(ensemble.curve.val_loss[-1], rel=1e-5)


def test_regression(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, _ = rows
    y = 100 + 20 * X[:, 0]
    settings = {**SMALL, "epochs": 40, "methods": "none,l1,noise,weight-decay,max-norm"}
    results = compare(X, y, **settings, task="regression")
    for run in results.runs:
        assert run.test is not None
        assert run.test.value < 10  # the target's own units; its standard deviation is 20
        assert run.test.miscalibration is None


def test_tuning_gives_equal_trials_and_touches_no_test_row(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    results = compare(*rows, **SMALL, tune=3, out=tmp_path / "run")
    trials = sorted((tmp_path / "run" / "trials").iterdir())
    assert len(trials) == 2 * 2 * 3  # methods, seeds, trials
    for file in trials:
        text = file.read_text()
        assert '"test": null' in text
        assert '"row_errors": null' in text
    assert set(results.tuned) == {"none", "dropout"}
    rates = [tuned["lr"] for tuned in results.tuned["none"]]
    assert [run.arguments["lr"] for run in results.of("none")] == rates
    assert len(set(rates)) == 2  # every seed has a search of its own
    again = compare(*rows, **{**SMALL, "jobs": 2}, tune=3)
    assert again.tuned == results.tuned


def test_a_users_module_and_the_callers_random_state(rows: tuple[np.ndarray, np.ndarray]) -> None:
    def make(inputs: tuple[int, ...], outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs[0], 8), nn.Tanh(), nn.Linear(8, outputs))

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    threads = torch.get_num_threads()
    results = compare(*rows, model=make, **{**SMALL, "seeds": 1})
    assert len(results.runs) == 2
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads


def test_nothing_is_written_for_a_study_that_cannot_run(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="images of at least"):
        compare(*rows, **SMALL, model="cnn", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.soak
@pytest.mark.parametrize("there", ["study.toml", "runs/*.json"])  # as workers start, as they train
def test_ctrl_c_says_how_to_go_on(tmp_path: Path, there: str) -> None:
    words = ["compare", "digits", "--methods", "none", "--seeds", "500", "--epochs", "4"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dropkit", *words, "--jobs", "2", "--out", "run"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    while not list((tmp_path / "run").glob(there)):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=HANGS)
    assert process.returncode == 130
    assert "To resume:" in said
    assert "dropkit compare digits --methods none --seeds 500 --epochs 4" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("X", "settings", "message"),
    [
        ("digits", {"y": "kind"}, r"y, X_test, .* are for arrays; .* target="),
        ("digits", {"X_test": np.eye(2), "y_test": np.arange(2)}, "are for arrays"),
        (np.eye(20), {"y": np.arange(20) % 2, "target": "kind"}, "target= is for a file"),
        (np.eye(20), {"y": np.arange(20) % 2, "test": "t.npz"}, "test= is for a file"),
        ("digits", {"jobs": 0}, "jobs must be 1 or more, got 0"),
    ],
)
def test_no_argument_is_passed_over(X: object, settings: dict[str, object], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        compare(X, epochs=1, **settings)  # type: ignore[arg-type]


def test_a_function_as_model_is_repeated_from_python(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    X, y = rows
    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1}
    results = compare(X, y, model=lambda i, o: nn.Linear(*i, o), out=tmp_path / "run", **settings)
    assert results.command.startswith("dropkit.study.compare(..., model=")
    assert "dropkit compare" not in (tmp_path / "run" / "study.toml").read_text()


def test_the_learning_rate_of_a_tuned_training_is_the_one_it_had(
    rows: tuple[np.ndarray, np.ndarray],
) -> None:
    settings = {"methods": "larger-steps(lr=2)", "seeds": 1, "epochs": 1, "lr": 0.1, "jobs": 1}
    plain, tuned = (compare(*rows, tune=trials, **settings).runs[0] for trials in (0, 1))
    assert plain.arguments == tuned.arguments
    assert (tuned.arguments["lr"], tuned.arguments["base_lr"]) == (0.2, 0.1)


def test_python_and_shell_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["compare", "digits", "--methods", "none", "--seeds", "1", "--epochs", "2"]
    words += ["--jobs", "1", "--out", "shell"]
    done = subprocess.run([sys.executable, "-m", "dropkit", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    python = compare("digits", methods="none", seeds=1, epochs=2, jobs=1)
    assert untimed(Results.load("shell")) == untimed(python)
    assert cli.run(["compare", "shell/study.toml", "--jobs", "1", "--out", "again"]) == 0
    assert untimed(Results.load("again")) == untimed(python)
    page = (tmp_path / "shell/report.html").read_bytes()
    (tmp_path / "shell/report.html").unlink()
    assert cli.run(["report", "shell"]) == 0
    assert (tmp_path / "shell/report.html").read_bytes() == page
    assert Study.from_toml(Path("shell/study.toml")).epochs == 2


@pytest.mark.parametrize("kind", ["array", "frame"])
@pytest.mark.parametrize("fixed_test", [False, True])
def test_a_study_of_python_rows_repeats_from_its_folder(
    tmp_path: Path, kind: str, fixed_test: bool
) -> None:
    rng = np.random.default_rng(1)
    X: object = rng.normal(size=(100, 3)).astype(np.float32)
    if kind == "frame":
        X = pd.DataFrame({"a": rng.normal(size=100), "b": rng.choice(["1", "2"], 100)})
    y = rng.choice(["yes", "no"], 100)
    test = {"X_test": X[:20], "y_test": y[:20]} if fixed_test else {}  # type: ignore[index]
    first = compare(X, y, **SMALL, **test, out=tmp_path / "run")
    settings = Study.from_toml(tmp_path / "run" / "study.toml").to_dict()
    data = settings.pop("data")
    again = compare(data, **settings, jobs=1)
    assert again.data.fingerprint == first.data.fingerprint
    assert untimed(again).runs == untimed(first).runs


def test_a_model_file_that_changes_under_way_is_not_trained(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n\ndef make(inputs, outputs):\n"
        "    return nn.Linear(inputs[0], outputs)\n"
    )

    class Edited(Work):
        def __call__(self, job: Job) -> Run | Failed:
            outcome = super().__call__(job)
            file.write_text(file.read_text() + "# another thought\n")
            return outcome

    settings = {"methods": "none", "seeds": 2, "epochs": 1, "jobs": 1, "out": tmp_path / "run"}
    with (
        patch("dropkit.study.start.Work", Edited),
        pytest.raises(StudyError, match=r"seed 1: .*net\.py has changed since the study began"),
    ):
        compare(*rows, model=f"{file}:make", **settings)
    assert len(list((tmp_path / "run" / "runs").iterdir())) == 1
    with pytest.raises(StudyError, match="another model"):
        compare(*rows, model=f"{file}:make", **settings)


def test_another_initial_weight_or_forward_pass_is_another_study(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    def make(std: float, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        net = nn.Linear(inputs[0], outputs)
        nn.init.normal_(net.weight, std=std)
        return net

    settings = {"methods": "none", "seeds": 1, "epochs": 1, "jobs": 1, "out": tmp_path / "run"}
    compare(*rows, model=partial(make, 0.01), **settings)
    with pytest.raises(StudyError, match="another model"):
        compare(*rows, model=partial(make, 5.0), **settings)


def test_what_has_no_meaning_is_refused_or_left_out_of_the_report(
    rows: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    results = compare(
        *rows, model=lambda i, o: nn.Linear(i[0], o), **SMALL | {"hidden": (9,), "methods": "none"}
    )
    assert "<dt>hidden</dt>" not in render(results.analysis)
    results = compare(*rows, **SMALL)
    assert results.command.startswith("dropkit.study.compare(X, y, ...)")
    assert "<dt>hidden</dt>" in render(results.analysis)
    with pytest.raises(StudyError, match="header has no meaning"):
        compare(str(tmp_path / "rows.parquet"), header=False)

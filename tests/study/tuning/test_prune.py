"""Pruning: Optuna's median rule, decided by what was told before, the same in every way to run."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from torch import distributed

from dropkit.cli import run as dropkit
from dropkit.study import Results, Run, Scores, Study, StudyError, compare
from dropkit.study.analysis import analyze
from dropkit.study.data import from_arrays
from dropkit.study.limits import DRAWN
from dropkit.study.methods.method import Argument, learning_rate
from dropkit.study.methods.parsing import parse
from dropkit.study.processes import count_cores
from dropkit.study.record import Curve, Timing, Tuning
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.folds import make_fold
from dropkit.study.training.models import factory
from dropkit.study.training.once import train_once
from dropkit.study.training.pruning import falls_behind
from dropkit.study.tuning.median import limits
from dropkit.study.tuning.search import search
from helpers.fabricated import make_record, untimed

STATES = {
    "finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "diverged": TrialState.FAIL,
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "methods": "none,dropout", "hidden": (8,), "epochs": 5, "batch_size": 32, "seeds": 1,
    "tune": 16, "prune": True,
}  # fmt: skip


def with_lr(expression: str) -> tuple[Argument, ...]:
    """What a study at a learning rate of 0.1 searches for a method."""
    return (learning_rate(0.1), *parse(expression).searched())


def trial(losses: Sequence[float | None], status: str = "finished") -> Run:
    scores = Scores(losses[-1] or 0.0, 0.1, 0.0) if status == "finished" else None
    curve = Curve(tuple(range(1, len(losses) + 1)), tuple(losses), tuple(losses), tuple(losses))
    return Run("m", 0, status, 1, 1, {}, curve, None, scores, None, None, Timing(1.0, 1.0))


def median_pruner() -> optuna.Study:
    return optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=DRAWN),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=0),
    )


def test_the_rule_is_optunas() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rng, told = np.random.default_rng(0), {True: 0, False: 0}
    for _ in range(60):
        epochs, study, runs = int(rng.integers(2, 8)), median_pruner(), []
        for _ in range(rng.integers(0, 9)):
            status = str(rng.choice(["finished", "finished", "pruned", "diverged"]))
            length = rng.integers(1, epochs + 1)
            losses = np.round(rng.random(length), 1).tolist()  # with ties
            runs.append(trial(losses, status))
            study.add_trial(
                optuna.trial.create_trial(
                    state=STATES[status],
                    value=losses[-1] if status != "diverged" else None,
                    intermediate_values=dict(enumerate(losses, 1)),
                )
            )
        allowed = limits(runs, epochs)
        asked, losses = study.ask(), np.round(rng.random(epochs), 1).tolist()
        for epoch in range(1, epochs):
            asked.report(losses[epoch - 1], epoch)
            expected = asked.should_prune()
            assert falls_behind(losses[:epoch], allowed) == expected, (runs, losses, epoch)
            told[expected] += 1
        assert not falls_behind(losses, allowed)  # nothing is left to spare
    assert min(told.values()) >= 30


def test_the_search_is_plain_optunas_with_its_median_pruner(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    epochs, trials = 6, 40

    def loss(lr: float, epoch: int) -> float:
        # It rises: what is pruned early has a lower loss than all that finish.
        return abs(math.log10(lr / 0.03)) + math.cos(40 * lr) / epoch + epoch

    study, expected = median_pruner(), []
    study.enqueue_trial({"lr": 0.1})
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=DRAWN)
    for _ in range(trials):
        asked = study.ask({"lr": FloatDistribution(0.01, 1.0, log=True)})
        state = TrialState.COMPLETE
        for epoch in range(1, epochs + 1):
            asked.report(loss(asked.params["lr"], epoch), epoch)
            if epoch < epochs and asked.should_prune():
                state = TrialState.PRUNED
                break
        value = loss(asked.params["lr"], epochs) if state == TrialState.COMPLETE else None
        study.tell(asked, value, state)
        expected.append((asked.params["lr"], state, epoch))

    create, made = optuna.create_study, []
    monkeypatch.setattr(optuna, "create_study", lambda **how: made.append(create(**how)) or made[0])
    searching, told, found = search(with_lr("none"), trials), [], []
    together = next(searching)
    try:
        while True:
            allowed, ended = limits(told, epochs), []
            for one in together:
                losses: list[float] = []
                while len(losses) < epochs and not falls_behind(losses, allowed):
                    losses.append(loss(one["lr"], len(losses) + 1))
                status = "pruned" if falls_behind(losses, allowed) else "finished"
                ended.append(trial(losses, status))
                found.append((one["lr"], STATES[status], len(losses)))
            told += ended
            together = searching.send(ended)
    except StopIteration as stop:
        best = stop.value
    assert found == expected
    states = [state for _, state, _ in found]
    assert set(states[:DRAWN]) == {TrialState.COMPLETE}
    assert 5 < states.count(TrialState.PRUNED) < trials - DRAWN
    assert best == study.best_params
    for theirs, ours in zip(study.trials, made[0].trials, strict=True):
        assert (ours.state, ours.value) == (theirs.state, theirs.value)
        if ours.state == TrialState.PRUNED:
            assert ours.intermediate_values == theirs.intermediate_values


def test_a_pruned_trial_cannot_win() -> None:
    searching = search(with_lr("none"), 12)
    together = next(searching)
    searching.send([trial([1.0, 0.9])] * len(together))
    searching.send([trial([0.0], "pruned")])
    with pytest.raises(StopIteration) as stop:
        searching.send([trial([0.0], "pruned")])
    assert stop.value.value == together[0]


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6)).astype("float32")
    return X, (X[:, 0] + rng.normal(size=400) > 0).astype(int)


@pytest.fixture(scope="module")
def studied(
    rows: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Results, Path]:
    out = tmp_path_factory.mktemp("prune") / "run"
    return compare(*rows, **SETTINGS, out=out, jobs=1), out


def trials_of(out: Path) -> dict[str, list[Run]]:
    folder = RunFolder.of(out)
    found = {}
    for method in folder.study.method_names:
        runs = [folder.load(method, 0, number) for number in range(folder.study.tune)]
        found[method] = [run for run in runs if run is not None]
        assert len(found[method]) == folder.study.tune
    return found


def test_trials_end_where_the_rule_says(studied: tuple[Results, Path]) -> None:
    results, out = studied
    pruned = 0
    for method, runs in trials_of(out).items():
        for number, run in enumerate(runs):
            losses = [loss for loss in run.curve.val_loss if loss is not None]
            allowed = limits(runs[:number], 5) if number >= DRAWN else ()
            ends = [e for e in range(1, len(losses) + 1) if falls_behind(losses[:e], allowed)]
            assert ends == ([len(losses)] if run.status == "pruned" else [])
            assert run.status == "pruned" or len(losses) == 5
            pruned += run.status == "pruned"
        tuning = results.tuning[method]
        assert (tuning.trials, tuning.diverged) == (16, 0)
        assert tuning.pruned == sum(run.status == "pruned" for run in runs)
        assert tuning.epochs == sum(len(run.curve.step) for run in runs)
        best = min((run for run in runs if run.val), key=lambda run: run.val.loss)  # type: ignore[union-attr]
        searched = best.arguments | {"lr": best.arguments["base_lr"]}
        assert results.tuned[method][0].items() <= searched.items()
    assert pruned >= 3


def test_a_pruned_trial_is_the_beginning_of_the_whole_one(
    studied: tuple[Results, Path], rows: tuple[Any, Any]
) -> None:
    _, out = studied
    study = replace(RunFolder.of(out).study, data="arrays")
    fold = make_fold(from_arrays(*rows), study, 0)
    runs = trials_of(out)["none"]
    run = next(run for run in runs if run.status == "pruned")
    whole = train_once(
        study,
        factory("mlp", (8,)),
        fold,
        parse("none"),
        0,
        hyperparameters={"lr": run.arguments["lr"]},
        test=False,
    )
    length = len(run.curve.step)
    assert (run.train, run.val, run.test) == (None, None, None)
    assert whole.status == "finished"
    assert whole.curve.val_loss[:length] == run.curve.val_loss
    assert len(whole.curve.val_loss) == 5 > length


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_numbers_resumed_and_side_by_side(
    jobs: int, studied: tuple[Results, Path], rows: tuple[Any, Any], tmp_path: Path
) -> None:
    results, out = studied
    whole = {file.name: json.loads(file.read_text()) for file in (out / "trials").iterdir()}
    for number in (2, 11, 15):
        for file in (out / "trials").glob(f"*-trial{number}.json"):
            file.unlink()
    again = compare(*rows, **SETTINGS, out=out, jobs=jobs)
    assert untimed(again) == untimed(results)
    for name, content in whole.items():
        there = json.loads((out / "trials" / name).read_text())["run"]
        assert {**there, "timing": 0} == {**content["run"], "timing": 0}


def make(method: str, rows: tuple[Any, Any], **settings: Any) -> Any:
    study = Study(data="arrays", hidden=(8,), epochs=4, batch_size=32)
    study = replace(study, **settings)
    fold = make_fold(from_arrays(*rows), study, 0)
    return lambda limits: train_once(
        study, factory("mlp", (8,)), fold, parse(method), 0, test=False, limits=limits
    )


def test_an_ensemble_is_judged_by_its_first_net(rows: tuple[Any, Any]) -> None:
    alone = make("none", rows)(())
    whole = make("ensemble(members=3)", rows)(())
    assert whole.curve.first_net == whole.curve.pruning_loss == alone.curve.val_loss
    assert whole.curve.val_loss != alone.curve.val_loss == alone.curve.pruning_loss
    best = [loss for loss in alone.curve.val_loss if loss is not None]
    just = tuple(min(best[: epoch + 1]) for epoch in range(3))
    assert make("ensemble(members=3)", rows)(just).status == "finished"
    pruned = make("ensemble(members=3)", rows)((just[0], just[1] * (1 - 1e-12)))
    assert (pruned.status, pruned.steps) == ("pruned", alone.curve.step[1])
    assert pruned.curve.val_loss == pytest.approx(alone.curve.val_loss[:2])


def test_with_early_stopping_and_the_best_weights(rows: tuple[Any, Any]) -> None:
    training = make("early-stopping(patience=1)", rows, weights="best", lr=0.2, epochs=40)
    whole = training(())
    assert 2 < len(whole.curve.step) < 40
    pruned = training((10.0, 0.0))
    assert pruned.status == "pruned"
    assert pruned.curve.val_loss == whole.curve.val_loss[:2]
    assert pruned.val is None


def test_what_is_solved_for_is_not_pruned(rows: tuple[Any, Any]) -> None:
    numbers = rows[0], rows[0][:, 0].copy()
    assert make("dropout-ridge", numbers)((0.0, 0.0)).status == "finished"


def test_a_loss_that_is_not_a_number_is_diverged_not_pruned(rows: tuple[Any, Any]) -> None:
    assert make("none", rows, lr=1e6)((0.0,)).status == "diverged"


@pytest.mark.soak
@pytest.mark.skipif(
    not distributed.is_available() or count_cores() < 2 or torch.cuda.device_count() == 1,
    reason="needs torch.distributed and two processor cores, or two GPUs",
)
def test_on_two_devices(rows: tuple[Any, Any]) -> None:
    one, two = make("none", rows), make("none", rows, devices=2)
    losses = [loss for loss in one(()).curve.val_loss if loss is not None]
    allowed = (losses[0] * 1.01, losses[1] * 0.99)
    assert one(allowed).status == two(allowed).status == "pruned"
    assert len(one(allowed).curve.step) == len(two(allowed).curve.step) == 2
    assert two((losses[0] * 1.01, losses[1] * 1.01, 10.0)).status == "finished"


def test_ten_trials_or_fewer_cannot_be_pruned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=r"prune needs tune above 10, .*; got tune=10"):
        Study(data="digits", tune=10, prune=True)
    out = tmp_path / "run"
    assert dropkit(["compare", "digits", "--prune", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dropkit: prune needs tune above 10")
    assert not out.exists()


def test_it_makes_another_study_and_its_absence_none() -> None:
    plain, pruned = Study(data="digits", tune=20), Study(data="digits", tune=20, prune=True)
    assert plain.digest() != pruned.digest()
    assert "prune" not in plain.identity()  # so that earlier folders go on
    assert Study.from_dict(pruned.to_dict()) == pruned


def test_the_report_says_what_was_spent() -> None:
    record = make_record({"none": [0.1, 0.2], "dropout": [0.1, 0.2]})
    taken = {"none": Tuning(20, 4, 0, 1234), "dropout": Tuning(20, 0, 1, 1600)}
    pruned = replace(record, study=record.study | {"prune": True}, tuning=taken)
    said = (
        "none used 1,234 epochs (4 of 20 trials pruned); dropout used 1,600 epochs (0 of 20 trials "
        "pruned)."
    )
    assert any(str(alert).endswith(said) for alert in analyze(pruned).alerts)
    unpruned = analyze(replace(record, tuning=taken))
    assert not any("pruned" in str(alert) for alert in unpruned.alerts)

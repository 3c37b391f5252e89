"""Trials in an Optuna storage too: each exactly once, through kills, and at no study's cost."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from dropkit.cli import run as dropkit
from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.methods.expression import parse
from dropkit.study.store.folder import RunFolder, slug
from dropkit.study.tuning import backend as tune_backend
from dropkit.study.tuning import storage as tune_storage
from dropkit.study.tuning.search import space
from dropkit.study.tuning.storage import TuneStorage
from helpers.fabricated import make_run, untimed
from helpers.small_disk import small_disk

TRIALS = 13
SETTINGS: dict[str, Any] = {
    "methods": "none,dropout", "hidden": (8,), "epochs": 3, "batch_size": 64, "seeds": 1,
    "tune": TRIALS, "prune": True, "jobs": 1,
}  # fmt: skip
PLACES = {"journal": "{}/trials.journal", "sqlite": "sqlite:///{}/trials.db"}


@pytest.fixture(params=PLACES)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return PLACES[request.param].format(tmp_path)


def studies(where: str) -> dict[str, optuna.Study]:
    """What is there, read by Optuna alone."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage: Any = where
    if "://" not in where:
        backend = optuna.storages.journal.JournalFileBackend(where)
        storage = optuna.storages.JournalStorage(backend)
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage) for name in names}


def each_once(where: str, methods: int = 2, trials: int = TRIALS) -> None:
    found = studies(where)
    assert len(found) == methods
    for study in found.values():
        assert sorted(t.user_attrs["trial"] for t in study.trials) == list(range(trials))
        assert all(t.state.is_finished() for t in study.trials)


@pytest.fixture(scope="module")
def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 6)).astype("float32")
    return X, (X[:, 0] + rng.normal(size=400) > 0).astype(int)


@pytest.fixture(scope="module")
def plain(rows: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Path]:
    """The study without a storage."""
    out = tmp_path_factory.mktemp("plain") / "run"
    return compare(*rows, **SETTINGS, out=out), out


def numbers(results: Results) -> Any:
    """What a study measured; the rows of each have a path of their own."""
    still = untimed(results)
    return still.runs, still.tuned, still.tuning


@pytest.fixture
def partly(plain: tuple[Results, Path]) -> dict[str, Any]:
    """The study with some trials left to train."""
    for number in (4, 9, 10, 12):
        for file in plain[1].glob(f"trials/*-trial{number}.json"):
            file.unlink()
    return SETTINGS | {"out": plain[1]}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    study = Study(data="digits", methods=("none", "early-stopping"), tune=TRIALS)
    return RunFolder(tmp_path / "run", study, "f")


def test_what_is_written_and_that_nothing_depends_on_it(
    where: str, rows: tuple[Any, Any], plain: tuple[Results, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    results = compare(*rows, **SETTINGS, out=out, tune_storage=where)
    assert numbers(results) == numbers(plain[0])
    each_once(where)
    folder = RunFolder.of(out)
    pruned = 0
    for method in folder.study.methods:
        study = studies(where)[f"dropkit-{folder.digest}-{slug(method)}"]
        assert study.best_params == pytest.approx(results.tuned[method])
        assert "lr" in optuna.importance.get_param_importances(study)
        for trial in study.trials:
            run = folder.load(method, 0, trial.user_attrs["trial"])
            assert run is not None
            assert trial.number == trial.user_attrs["trial"]  # one job: in order
            searched = run.arguments | {"lr": run.arguments["base_lr"]}
            assert trial.params.items() <= searched.items()
            assert trial.distributions == space(parse(method), folder.study.lr)
            assert trial.intermediate_values == dict(enumerate(run.curve.val_loss, 1))
            complete = run.val is not None
            assert trial.state == (TrialState.COMPLETE if complete else TrialState.PRUNED)
            assert trial.value == (run.val.loss if run.val else run.curve.val_loss[-1])
            pruned += not complete
            assert trial.duration is not None
            assert trial.duration.total_seconds() == pytest.approx(run.timing.seconds, abs=2)
            attributes = dict(trial.user_attrs)
            assert attributes.pop("where").endswith(f":{out.resolve()}")
            assert attributes.pop("seconds") == pytest.approx(run.timing.seconds, abs=1e-3)
            assert attributes == {"method": method, "trial": trial.number}
    assert pruned == sum(taken.pruned for taken in results.tuning.values()) > 0
    for kept in ("study.toml", "results.json"):
        assert "trials." not in (out / kept).read_text()
    assert "storage" not in results.command


def test_the_same_command_again_writes_nothing_twice_and_a_new_place_is_filled(
    where: str, rows: tuple[Any, Any], plain: tuple[Results, Path]
) -> None:
    for _ in range(2):
        again = compare(*rows, **SETTINGS, out=plain[1], tune_storage=where)
        each_once(where)
    assert numbers(again) == numbers(plain[0])
    compare(*rows, **SETTINGS | {"methods": "none,dropout,l1"}, out=plain[1], tune_storage=where)
    each_once(where, methods=3)


@pytest.mark.parametrize("written", [False, True], ids=["before", "after"])
def test_killed_before_and_after_a_trial_is_written(
    written: bool,
    where: str,
    rows: tuple[Any, Any],
    plain: tuple[Results, Path],
    partly: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    add, calls = optuna.Study.add_trial, 0

    def dies(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal calls
        if trial.state == TrialState.WAITING:  # the search itself, in memory
            add(study, trial)
            return
        calls += 1
        if calls % 7 == 0 and not written:
            raise Killed
        add(study, trial)
        if calls % 7 == 0:
            raise Killed

    deaths = 0
    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "add_trial", dies)
        for _ in range(10):
            try:
                ended = compare(*rows, **partly, tune_storage=where)
                break
            except Killed:
                deaths += 1
    assert deaths >= 3
    each_once(where)
    assert numbers(ended) == numbers(plain[0])


@pytest.mark.soak
def test_kill_minus_nine(where: str, tmp_path: Path) -> None:
    words = ["compare", "digits", "--methods", "none,dropout", "--hidden", "8", "--epochs", "1"]
    words += ["--seeds", "1", "--tune", "12", "--jobs", "1", "--tune-storage", where]
    command = [sys.executable, "-m", "dropkit", *words, "--out", "run"]
    for files in (3, 16):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
        while len(list(tmp_path.glob("run/trials/*.json"))) < files and process.poll() is None:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    each_once(where, trials=12)


def test_states_of_trials_that_diverged(where: str, folder: RunFolder) -> None:
    storage = TuneStorage(where, folder)
    losses = (1.0, 0.5, None)
    storage.keep(make_run("none", 0, None, val_loss=losses), 0, pytest.fail)
    (trial,) = studies(where)[f"dropkit-{folder.digest}-{slug('none')}"].trials
    assert (trial.state, trial.value) == (TrialState.FAIL, None)
    assert trial.intermediate_values == {1: 1.0, 2: 0.5}


def test_two_writers_and_whole_numbers(where: str, folder: RunFolder) -> None:
    run = make_run("early-stopping", 0, 0.1)
    run = dataclasses.replace(run, arguments={"lr": 0.05, "early-stopping.patience": 7.0})
    storages = TuneStorage(where, folder), TuneStorage(where, folder)
    for number in range(3):
        for storage in storages:
            storage.keep(run, number, pytest.fail)
    study = studies(where)[f"dropkit-{folder.digest}-{slug('early-stopping')}"]
    assert [trial.user_attrs["trial"] for trial in study.trials] == [0, 1, 2]
    assert study.trials[0].params == {"lr": 0.05, "early-stopping.patience": 7}
    assert isinstance(study.trials[0].params["early-stopping.patience"], int)


def failing(during: Callable[[int], bool]) -> Callable[..., None]:
    add, calls = optuna.Study.add_trial, 0

    def fails(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        nonlocal calls
        if trial.state == TrialState.WAITING:  # the search itself, in memory
            add(study, trial)
            return
        calls += 1
        if during(calls):
            raise OSError(5, "Input/output error")
        add(study, trial)

    return fails


def test_a_storage_that_fails_for_a_while(
    where: str,
    rows: tuple[Any, Any],
    plain: tuple[Results, Path],
    partly: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tune_storage, "PAUSE", 0.0)
    monkeypatch.setattr(optuna.Study, "add_trial", failing(lambda call: 5 <= call < 9))
    settings = partly | {"progress": True, "tune_storage": where}
    results = compare(*rows, **settings)
    said = [line for line in capsys.readouterr().err.splitlines() if "tune-storage" in line]

    assert said == [
        f"cannot use tune-storage {where}: Input/output error; 1 trial is in the run folder alone, "
        "and it is tried again later"
    ]
    assert numbers(results) == numbers(plain[0])
    each_once(where)


def test_a_storage_that_fails_for_good_costs_no_training(
    where: str,
    rows: tuple[Any, Any],
    plain: tuple[Results, Path],
    partly: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = partly | {"progress": True, "tune_storage": where}
    with monkeypatch.context() as patch:
        tried: list[int] = []
        patch.setattr(
            optuna.Study,
            "add_trial",
            failing(lambda call: call > 4 and not tried.append(call)),  # type: ignore[func-returns-value]
        )
        results = compare(*rows, **settings)
        assert len(tried) == 2  # with a pause after the first, and at the end
    said = [line for line in capsys.readouterr().err.splitlines() if "tune-storage" in line]
    assert len(said) == 2
    assert said[1].endswith(
        f"{2 * TRIALS - 4} trials are in the run folder alone, and run the same command again to "
        "write them"
    )
    assert numbers(results) == numbers(plain[0])
    assert Results.load(partly["out"]) == results
    compare(*rows, **settings)
    each_once(where)


def test_a_full_disk(
    rows: tuple[Any, Any],
    plain: tuple[Results, Path],
    partly: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        where = str(disk / "trials.journal")
        settings = partly | {"progress": True, "tune_storage": where}
        assert numbers(compare(*rows, **settings)) == numbers(plain[0])
        said = [line for line in capsys.readouterr().err.splitlines() if "tune-storage" in line]
        assert len(said) == 2
        assert all("No space left on device" in line for line in said)
        assert Path(where).stat().st_size == 8192  # a line that has a beginning and no end
        subprocess.run(["mount", "-o", "remount,size=256k", str(disk)], check=True)
        compare(*rows, **settings)
        each_once(where)


def test_a_line_without_an_end_is_removed_and_no_file_of_others_is_touched(
    folder: RunFolder, tmp_path: Path
) -> None:
    file = tmp_path / "trials.log"
    storage = TuneStorage(str(file), folder)
    storage.keep(make_run("none", 0, 0.1), 0, pytest.fail)
    whole = file.read_bytes()
    for torn in (b"{", b'{"op_code":4,"worker_id"'):
        file.write_bytes(whole + torn)
        storage.keep(make_run("none", 0, 0.1), 0, pytest.fail)
        assert file.read_bytes() == whole
    TuneStorage(str(file), folder).keep(make_run("none", 0, 0.1), 1, pytest.fail)
    assert len(studies(str(file))[f"dropkit-{folder.digest}-{slug('none')}"].trials) == 2
    for foreign in (b"no line", b"some lines\nof text\n", b"[1]\n", b'{"other": 1}\n'):
        file.write_bytes(foreign)
        with pytest.raises(StudyError, match=r"trials\.log: it is no journal of Optuna"):
            TuneStorage(str(file), folder)
        assert file.read_bytes() == foreign
    file.write_bytes(whole + b"broken\n" + whole)
    with pytest.raises(StudyError, match="a line of it is damaged"):
        TuneStorage(str(file), folder)


SECRET = "sEcr3t"
AT_NOBODY = f"me:{SECRET}@127.0.0.1:{{port}}/trials"
REFUSED = {
    f"postgresql://{AT_NOBODY}": "no server answers: Connection refused",
    f"postgresql+psycopg2://{AT_NOBODY}?sslpassword={SECRET}": "no server answers",
    f"mysql://{AT_NOBODY}": "no server answers: Connection refused",
    f"postgres://{AT_NOBODY}": "no database is known as 'postgres'",
    f"foo://{AT_NOBODY}": "no database is known as 'foo'",
    f"postgresql://me:{SECRET}@host:no/trials": "must be an address such as",
    f"me:{SECRET}@host/trials": "must be a file whose name ends in .journal or .log",
    f"nothing:///x?password={SECRET}": "no database is known as 'nothing'",
    "trials.txt": "must be a file whose name ends in .journal or .log, or an address",
    "": "must be a file whose name ends in .journal or .log, or an address",
    "sqlite://trials.db": "must name a file, as in sqlite:///trials.db",
    "sqlite:///:memory:": "must name a file, as in sqlite:///trials.db",
    "sqlite:////no/such/folder/trials.db": "unable to open database file",
    "/no/such/folder/trials.journal": "No such file or directory",
    "{folder}.journal": "Is a directory",
}


@pytest.mark.parametrize("where", REFUSED)
def test_what_cannot_be_used_is_said_before_anything_is_written(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and not listening
        port = closed.getsockname()[1]
        (tmp_path / "a.journal").mkdir()
        address = where.format(port=port, folder=tmp_path / "a")
        words = ["compare", "digits", "--epochs", "1", "--tune", "2", "--tune-storage", address]
        assert dropkit([*words, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(("dropkit: tune-storage", "dropkit: cannot use tune-storage"))
    assert REFUSED[where] in line
    assert SECRET not in line
    assert [file.name for file in tmp_path.iterdir()] == ["a.journal"]


@pytest.mark.parametrize(
    ("kind", "module", "package"),
    [
        ("postgresql+psycopg2", "psycopg2", "psycopg2-binary"),
        ("postgresql+psycopg", "psycopg", "'psycopg[binary]'"),
        ("mysql", "MySQLdb", "mysqlclient"),
    ],
)
def test_a_missing_driver(
    kind: str, module: str, package: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(StudyError) as error:
            TuneStorage(f"{kind}://me:{SECRET}@127.0.0.1:{port}/trials", folder)
    assert str(error.value) == (
        f"cannot use tune-storage {kind}://me:***@127.0.0.1:{port}/trials: it needs a driver, "
        f"{module}, which is missing: pip install {package}"
    )


def test_passwords_in_what_drivers_say(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def says(url: str, **_: Any) -> None:
        raise RuntimeError("cannot") from ValueError(f"bad {url}")

    monkeypatch.setattr(optuna.storages, "RDBStorage", says)
    monkeypatch.setattr(tune_backend, "_answers", lambda host, port: None)
    with pytest.raises(StudyError) as error:
        TuneStorage(f"postgresql://me:{SECRET}@host/x?password={SECRET}2", folder)
    shown = "".join(traceback.format_exception(error.value))
    assert str(error.value).startswith("cannot use tune-storage postgresql://me:***@host/x: bad ")
    assert SECRET not in shown  # what --debug would show


def test_without_trials(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = tmp_path / "trials.journal"
    words = ["compare", "digits", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert dropkit([*words, "--tune-storage", str(where)]) == 2
    assert "is for the trials of --tune; add --tune N" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())

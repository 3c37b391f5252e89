"""Run folders at addresses: the same study, the same numbers, one line for what cannot be.

Three places stand for all: memory; a shared folder reached as a remote place is, without locks
or renames; and an S3 server, where moto and s3fs are installed.
"""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dropkit import cli
from dropkit.files import Place, locate, read_all, sizes, write_atomic
from dropkit.study import Results, Run, Study, StudyError, compare
from dropkit.study import report as reporting
from dropkit.study.record.results import Curve, Scores, Timing
from dropkit.study.store import manifest
from dropkit.study.store.folder import Key, RunFolder, check_whole, doubt

upath = pytest.importorskip("upath")

from helpers.fabricated import untimed  # noqa: E402

QUICK: dict[str, Any] = {"methods": "none,dropout", "epochs": 2, "hidden": (8,), "jobs": 1}
WORDS = ["--methods", "none,dropout", "--epochs", "2", "--hidden", "8", "--jobs", "1"]


def make_run(method: str = "none", seed: int = 0) -> Run:
    scores = Scores(0.1, 0.02, 0.01)
    curve = Curve((3, 6), (1.0, None), (0.9, 0.8), (0.1, 0.05))
    timing = Timing(1.5, 0.01)
    return Run(
        method, seed, "finished", 6, 2, {"lr": 0.1}, curve, scores, scores, scores, "gA==", timing
    )


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """An S3 server of our own, with an empty bucket."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            environment.setenv(name, value)
        upath.UPath("s3://bucket").fs.mkdir("bucket")
        yield "s3://bucket"
    server.stop()


@pytest.fixture(params=["memory", "shared", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return locate(f"memory://{uuid.uuid4()}/run")
    if request.param == "shared":
        shared = upath.UPath(f"file://{tmp_path}/deep/run")
        assert not isinstance(shared, Path)
        return shared
    return locate(f"{request.getfixturevalue('s3')}/{uuid.uuid4()}/run")


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int)


def test_a_local_path_needs_no_universal_pathlib(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    assert type(locate("run")) is type(locate(f"file://{tmp_path}")) is type(Path())
    results = compare(*rows(), seeds=1, out=f"file://{tmp_path}/run", **QUICK)
    assert Results.load(str(tmp_path / "run")) == results
    with pytest.raises(
        StudyError, match=r"needs universal-pathlib: pip install 'dropkit\[remote\]"
    ):
        locate("memory://run")


def test_a_study_is_the_same_there_and_goes_on_where_it_was(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = compare(*rows(), seeds=2, out=tmp_path / "here", **QUICK)
    compare(*rows(), seeds=1, out=place, **QUICK)
    done = dict(zip(*_files(place, "runs/"), strict=True))
    assert len(done) == 2
    there = compare(*rows(), seeds=2, out=place, **QUICK)
    assert untimed(there).runs == untimed(here).runs
    after = dict(zip(*_files(place, "runs/"), strict=True))
    assert len(after) == 4
    assert after.items() >= done.items()  # nothing was trained twice
    assert Results.load(place) == there
    assert Results.load(place / "results.json") == there
    assert doubt(place) == ""


def _files(place: Place, start: str = "") -> tuple[list[str], list[bytes | Exception]]:
    names = sorted(name for name in sizes(place) if name.startswith(start))
    return names, list(read_all([place / name for name in names]))


def test_the_rows_are_kept(place: Place, tmp_path: Path) -> None:
    X, y = rows()
    compare(X, y, seeds=1, out=place, **QUICK)
    copy = tmp_path / "data.npz"
    copy.write_bytes((place / "data.npz").read_bytes())
    with np.load(copy) as kept:
        assert (kept["X"] == X).all()
        assert (kept["y"] == y.astype(str)).all()
    frame = pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "kind": y})
    other = place.parent / "frame"
    compare(frame, "kind", seeds=1, out=other, **QUICK)
    copy = tmp_path / "data.parquet"
    copy.write_bytes((other / "data.parquet").read_bytes())
    assert (pd.read_parquet(copy)["a"].to_numpy() == X[:, 0]).all()


def test_a_report_is_written_there(place: Place) -> None:
    results = compare(*rows(), seeds=1, out=place, **QUICK)
    reporting.write(results, place)
    names, contents = _files(place)
    assert names == sorted(
        ["data.npz", "manifest.json", "report.html", "results.csv", "results.json", "study.toml"]
        + [name for name in names if name.startswith("runs/")]
    )
    page = contents[names.index("report.html")]
    assert isinstance(page, bytes)
    assert page.rstrip().endswith(b"</html>")
    assert doubt(place) == ""
    write_atomic(place / "data.npz", b"short")
    assert "data.npz has 5 bytes instead of " in doubt(place)


def folder_at(place: Place) -> RunFolder:
    return RunFolder(place, Study(data="digits", epochs=2, seeds=30, methods=("none",)), "")


def test_damaged_runs_are_found_among_many(place: Place) -> None:
    folder = folder_at(place)
    keys: list[Key] = [("none", seed, None) for seed in range(30)]
    with folder.opened():
        for key in keys[:20]:
            folder.save(make_run(seed=key[1]))
        write_atomic(folder._file(*keys[3]), b"")
        write_atomic(folder._file(*keys[5]), b"{")
        found = folder.load_all(keys)
    assert found.runs == {key: make_run(seed=key[1]) for key in keys[:20] if key[1] not in (3, 5)}
    assert len(found.unreadable) == 2
    assert found.warning.startswith("2 finished trainings are damaged")
    with pytest.raises(StudyError, match="20 of 30 trainings are done"):
        check_whole(place)


def test_another_study_or_foreign_files_are_refused(place: Place) -> None:
    folder = folder_at(place)
    with folder.opened():
        pass
    with (
        pytest.raises(StudyError, match="epochs is 2 there and 3 here"),
        RunFolder(place, Study(data="digits", epochs=3), "").opened(),
    ):
        pass
    write_atomic(place.parent / "other" / "thesis.tex", b"mine")
    with (
        pytest.raises(StudyError, match="not empty and holds no study"),
        folder_at(place.parent / "other").opened(),
    ):
        pass
    with (
        pytest.raises(StudyError, match="is a file"),
        folder_at(place.parent / "other" / "thesis.tex").opened(),
    ):
        pass
    assert list(sizes(place.parent / "other")) == ["thesis.tex"]


def test_names_with_patterns_are_names(place: Place) -> None:
    folder = folder_at(place.parent / "run [a-c]*")
    with folder.opened():
        folder.save(make_run())
        assert folder.load("none", 0) == make_run()
        assert folder.progress() == (1, 30)


def test_two_processes_may_train_side_by_side(place: Place) -> None:
    folder, other = folder_at(place), folder_at(place)
    with folder.opened(), other.opened():
        folder.save(make_run())
        assert other.load("none", 0) == make_run()
        other.save(make_run())
        assert folder.load("none", 0) == make_run()


def test_what_others_write_is_seen(s3: str) -> None:
    place = locate(f"{s3}/{uuid.uuid4()}")
    write_atomic(place / "a", b"a")
    assert sizes(place) == {"a": 1}
    other = type(place.fs)(skip_instance_cache=True)  # type: ignore[union-attr]
    other.pipe_file(f"{place.path}/b", b"bb")  # type: ignore[union-attr]
    assert sizes(place) == {"a": 1, "b": 2}
    assert list(read_all([place / "b"])) == [b"bb"]


def test_of_two_that_finish_together_the_manifest_is_about_what_is_there(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = compare(*rows(), seeds=1, out=place, **QUICK)
    folder = RunFolder.of(place)
    complete = manifest.complete

    def disturbed(at: Place, trainings: int) -> manifest.Manifest:
        found = complete(at, trainings)
        monkeypatch.setattr(manifest, "complete", complete)
        write_atomic(place / "results.json", replace(results, command="other").to_json())
        return found

    monkeypatch.setattr(manifest, "complete", disturbed)
    folder.finish(results)
    assert Results.load(place).command == "other"
    assert doubt(place) == ""


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["s3", "shared"])
def test_two_real_processes_at_once(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    where = f"file://{tmp_path}/run"
    if kind == "s3":
        where = f"{request.getfixturevalue('s3')}/{uuid.uuid4()}/run"
    code = f"""
from upath import UPath
from dropkit.study import compare
compare("digits", seeds=40, out=UPath({where!r}), **{QUICK!r})
"""
    command = [sys.executable, "-c", code]
    first = subprocess.Popen(command, cwd=tmp_path)
    place = upath.UPath(where)
    while first.poll() is None and not any(name.startswith("runs/") for name in sizes(place)):
        time.sleep(0.05)
    second = subprocess.Popen(command, cwd=tmp_path)
    assert [process.wait(timeout=120) for process in (first, second)] == [0, 0]
    alone = compare("digits", seeds=40, **QUICK)
    assert untimed(Results.load(place)).runs == untimed(alone).runs
    assert doubt(place) == ""


def test_an_address_on_the_command_line(
    s3: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    out = f"{s3}/{uuid.uuid4()}"
    assert cli.run(["compare", "digits", "--seeds", "1", *WORDS, "--out", out]) == 0
    said, _ = capsys.readouterr()
    assert said.endswith(f"report: {out}/report.html\n")
    assert cli.run(["report", out]) == 0
    capsys.readouterr()
    again = ["compare", f"{out}/study.toml", "--seeds", "2", "--jobs", "1", "--out", out]
    assert cli.run(again) == 0
    assert "2 of 4 trainings are already done" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # nothing but the address was written


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.run(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dropkit: ")
    assert len(err.splitlines()) == 1, err
    assert "unexpected" not in err
    return err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nonsense://bucket/run", "cannot use nonsense://bucket/run: "),
        ("http://127.0.0.1:9/run", "cannot use http://127.0.0.1:9/run"),
    ],
)
def test_an_address_that_cannot_be(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, "compare", "digits", *WORDS, "--out", address)
    assert said in refused(capsys, "report", address)
    assert not list(tmp_path.iterdir())


def test_a_package_that_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "cannot use dask://run: " in refused(capsys, "report", "dask://run")


def test_a_bucket_that_is_missing_is_not_made(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "compare", "digits", *WORDS, "--out", "s3://misspelt/run")
    assert line.startswith("dropkit: cannot use s3://misspelt/run")
    buckets = upath.UPath("s3://bucket").fs.ls("", refresh=True)
    assert [bucket.strip("/") for bucket in buckets] == ["bucket"]


@pytest.mark.soak
@pytest.mark.parametrize(
    "environment",
    [{"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, {"AWS_ACCESS_KEY_ID": "", "HOME": "/nowhere"}],
    ids=["unreachable", "no credentials"],
)
def test_a_store_that_does_not_answer(s3: str, tmp_path: Path, environment: dict[str, str]) -> None:
    words = [sys.executable, "-m", "dropkit", "compare", "digits", *WORDS, "--out", f"{s3}/no"]
    variables = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true", **environment}
    if not variables["AWS_ACCESS_KEY_ID"]:
        del variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"]
    done = subprocess.run(
        words, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"dropkit: cannot use {s3}/no: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["memory", "s3"], indirect=True)
def test_a_weak_connection_is_no_reason_to_train_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folder_at(place)
    with folder.opened():
        folder.save(make_run())

        def broken(*args: object, **kwargs: object) -> bytes:
            raise ConnectionResetError("connection reset")

        fs = place.fs  # type: ignore[union-attr]
        for name in ("_cat_file", "_open"):
            monkeypatch.setattr(type(fs), name, broken, raising=False)
        with pytest.raises(StudyError, match=r"cannot use .*connection reset"):
            folder.load_all([("none", 0, None)])

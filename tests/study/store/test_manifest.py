"""The manifest of a run folder: complete or not, by which versions, opened by whom."""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.store.folder import RunFolder
from dropkit.study.store.manifest import Manifest

QUICK = {"methods": "none,dropout", "seeds": 2, "epochs": 1, "hidden": (4,), "jobs": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a complete run folder."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32)
    with contextlib.chdir(folder):
        compare(X, (X[:, 0] > 0).astype(int), out="run", **QUICK)
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def run(made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in made.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content)
    return Path("run")


WRITTEN = {"format", "dropkit", "state", "asked", "done", "trained_with", "opened_by"}
WRITTEN |= {"compared", "looks"}


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text())


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run(["report", "run"])
    return code, capsys.readouterr().err


def test_a_complete_folder_says_so(run: Path) -> None:
    record = manifest(run)
    assert record["format"] == "dropkit-manifest/1"
    assert (record["state"], record["asked"], record["done"]) == ("complete", 4, 4)
    assert record.keys() == WRITTEN
    assert record["looks"] == [2]
    assert len(record["compared"]) == 2  # type: ignore[arg-type]


def test_a_field_of_another_version_is_passed_over(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = manifest(run) | {"files": {"results.json": {"bytes": 1, "sha256": "00"}}}
    (run / "manifest.json").write_text(json.dumps(record))
    assert report(capsys) == (0, "")


def longer(run: Path) -> RunFolder:
    """The same study with three more trainings."""
    folder = RunFolder.of(run)
    settings = folder.study.to_dict() | {"methods": ["none", "dropout", "l1"], "seeds": 2}
    return RunFolder(folder.path, Study.from_dict(settings), folder.fingerprint)


def test_an_incomplete_folder_says_how_far_it_is(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = longer(run)
    one = RunFolder.of(run).load("none", 0)
    assert one is not None
    with folder.opened():
        record = manifest(run)
        assert (record["state"], record["asked"], record["done"]) == ("incomplete", 6, 4)
        assert record["opened_by"]["pid"] == os.getpid()
        folder.save(replace(one, method="l1"))
    code, said = report(capsys)
    assert code == 2
    assert said == (
        "dropkit: the study in run is not finished: 5 of 6 runs are done; to resume: dropkit "
        "compare run/study.toml --out run\n"
    )
    assert cli.run(["compare", "run/study.toml", "--out", "run", "--jobs", "1"]) == 0
    assert "5 of 6 runs are already done" in capsys.readouterr().err
    assert report(capsys) == (0, "")
    assert manifest(run)["done"] == 6


def test_the_manifest_is_not_written_for_every_training(run: Path) -> None:
    folder = longer(run)
    one = folder.load("none", 0)
    assert one is not None
    with folder.opened():
        before = (run / "manifest.json").stat()
        for seed in range(9):
            folder.save(replace(one, seed=seed))
        assert (run / "manifest.json").stat() == before


def drop_a_score(content: bytes) -> bytes:
    record = json.loads(content)
    del record["runs"][0]["test"]["value"]
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:100], lambda content: content[::-1], lambda _: b"", drop_a_score],
    ids=["cut", "reversed", "empty", "score missing"],
)
def test_damaged_results_are_not_reported_and_written_again_by_the_next_run(
    run: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    file = run / "results.json"
    whole = Results.load(run)
    file.write_bytes(damage(file.read_bytes()))
    code, line = report(capsys)
    assert code == 2
    assert line.startswith("dropkit: cannot read run/results.json: these are not complete results")
    assert line.count("\n") == 1
    assert not (run / "report.html").exists()
    assert cli.run(["compare", "run/study.toml", "--out", "run", "--jobs", "1"]) == 0
    assert Results.load(run).runs == whole.runs


def test_missing_results(run: Path) -> None:
    (run / "results.json").unlink()
    with pytest.raises(StudyError, match=r"no results: run/results\.json is missing"):
        Results.load(run)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"format": "dropkit-manifest/9", "state": "complete"}']
)
def test_a_damaged_manifest_is_one_line_and_mended_by_the_next_run(
    run: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (run / "manifest.json").write_bytes(content)
    code, line = report(capsys)
    assert code == 2
    assert line.startswith("dropkit: cannot read run/manifest.json: ")
    assert line.count("\n") == 1
    assert cli.run(["compare", "run/study.toml", "--out", "run", "--jobs", "1"]) == 0
    assert report(capsys)[0] == 0


def test_a_folder_without_a_manifest_is_taken_as_it_is(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "manifest.json").unlink()
    assert Manifest.read(run) is None
    assert report(capsys) == (0, "")
    assert not (run / "manifest.json").exists()


def test_trainings_of_other_versions_are_reported_and_recorded(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "dropkit 0.0.1, torch 1.0"
    known = Manifest.read(run)
    assert known is not None
    replace(known, trained_with=(other, *known.trained_with)).write(run)
    words = ["compare", "run/study.toml", "--out", "run", "--jobs", "1", "--seeds", "3"]
    for _ in range(2):  # once more when it is complete
        assert cli.run(words) == 0
        assert f"made with {other}: numbers may differ" in capsys.readouterr().err
        assert Results.load(run).environment["in part with"] == other

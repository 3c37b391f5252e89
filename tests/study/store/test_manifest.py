"""A folder says what it holds: a part, the whole, or the whole with a file changed since."""

import contextlib
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results, Study, StudyError, compare
from dropkit.study.store.folder import RunFolder, doubt
from dropkit.study.store.manifest import Kept, Manifest, described

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


def manifest(folder: Path) -> dict[str, object]:
    return json.loads((folder / "manifest.json").read_text())


def report(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = cli.run(["report", "run"])
    return code, capsys.readouterr().err


def test_a_complete_folder_lists_every_file(run: Path) -> None:
    record = manifest(run)
    assert record["format"] == "dropkit-manifest/1"
    assert (record["state"], record["asked"], record["done"]) == ("complete", 4, 4)
    there = {
        file.relative_to(run).as_posix(): {
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for file in run.rglob("*")
        if file.is_file() and file.name not in ("manifest.json", ".lock")
    }
    assert len(there) == 4 + len(("study.toml", "results.json", "data.npz"))
    assert record["files"] == there
    assert doubt(run) == ""


def test_a_report_is_entered(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(capsys) == (0, "")
    for name in ("report.html", "results.csv"):
        content = (run / name).read_bytes()
        kept = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert manifest(run)["files"][name] == kept
    (run / "report.html").write_text("edited")
    assert report(capsys) == (0, "")  # it is made again


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
        assert record["files"] == {}
        folder.save(replace(one, method="l1"))
    code, said = report(capsys)
    assert code == 2
    assert said == (
        "dropkit: the study in run is not finished: 5 of 6 trainings are done; to go on: "
        "dropkit compare run/study.toml --out run\n"
    )
    assert cli.run(["compare", "run/study.toml", "--out", "run", "--jobs", "1"]) == 0
    assert "5 of 6 trainings are already done" in capsys.readouterr().err
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


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, " is missing"),
    "cut": (lambda file: os.truncate(file, 100), " has 100 bytes instead of "),
    "changed": (lambda file: file.write_bytes(file.read_bytes()[::-1]), " has changed"),
}


@pytest.mark.parametrize(("change", "said"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["data.npz", "runs/*dropout*seed1*"])
def test_a_changed_file_is_named_in_one_line(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    change: Callable[[Path], object],
    said: str,
) -> None:
    (file,) = run.glob(name)
    change(file)
    code, line = report(capsys)
    assert code == 0  # the results themselves are whole
    assert line.startswith("dropkit: run is not as the study left it ")
    assert f"{file.relative_to(run)}{said}" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize("name", ["cut", "changed"])
def test_changed_results_are_not_reported(
    run: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    CHANGES[name][0](run / "results.json")
    code, line = report(capsys)
    assert code == 2
    assert line.startswith("dropkit: run/results.json is not what the study wrote; run the study")
    assert line.count("\n") == 1
    assert not (run / "report.html").exists()
    with pytest.raises(StudyError, match=r"cannot read run/results\.json: these are no whole"):
        Results.load(run / "results.json")


def test_results_that_are_well_formed_but_others_are_not_reported(run: Path) -> None:
    file = run / "results.json"
    record = json.loads(file.read_text())
    record["runs"][0]["test"]["error"] = 0.0
    file.write_text(json.dumps(record))
    assert Results.from_json(file.read_text())
    with pytest.raises(StudyError, match="is not what the study wrote"):
        Results.load(run)
    file.unlink()
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


def test_the_sum_of_a_large_file_is_taken_in_parts(tmp_path: Path) -> None:
    content = os.urandom(10_000_000)
    (tmp_path / "results.json").write_bytes(content)
    tracemalloc.start()
    found = described(tmp_path, ["results.json", "gone.json"])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == {"results.json": Kept(len(content), hashlib.sha256(content).hexdigest())}
    assert most < len(content) / 10


def test_trainings_of_other_versions_are_told_and_named_in_the_results(
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

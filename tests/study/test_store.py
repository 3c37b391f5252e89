"""The run folder: whole files or none, and never another study's."""

import errno
import os
from pathlib import Path

import pytest

from dropkit.study import Run, Scores, Study, StudyError
from dropkit.study.results import Curve, Timing
from dropkit.study.store import RunFolder, write_atomic


def make_run(method: str = "none", seed: int = 0) -> Run:
    scores = Scores(0.1, 0.02, 0.01)
    curve = Curve((3, 6), (1.0, None), (0.9, 0.8), (0.1, 0.05))
    timing = Timing(1.5, 0.01)
    return Run(
        method, seed, "finished", 6, 2, {"lr": 0.1}, curve, scores, scores, scores, "gA==", timing
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", Study(data="digits", epochs=2), "fingerprint")


def test_a_run_survives(folder: RunFolder) -> None:
    folder.open()
    assert folder.load("none", 0) is None
    folder.save(make_run())
    assert folder.load("none", 0) == make_run()
    assert folder.load("none", 1) is None
    assert folder.load("none", 0, trial=0) is None


def test_methods_with_like_names_do_not_share_a_file(folder: RunFolder) -> None:
    folder.open()
    folder.save(make_run("dropout(p=0.3)"))
    assert folder.load("dropout(p=0,input=3)", 0) is None
    assert folder.load("dropout-p-0.3", 0) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"method": "none"}', b"\xff\xfe"])
def test_a_damaged_run_counts_as_not_done(folder: RunFolder, damage: bytes) -> None:
    folder.open()
    folder.save(make_run())
    (file,) = (folder.path / "runs").iterdir()
    file.write_bytes(damage)
    assert folder.load("none", 0) is None


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "results.json"
    write_atomic(file, "old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_another_configuration_is_refused(folder: RunFolder) -> None:
    folder.open()
    longer = RunFolder(folder.path, Study(data="digits", epochs=3), folder.fingerprint)
    with pytest.raises(StudyError, match="epochs is 2 there and 3 here"):
        longer.open()
    other_data = RunFolder(folder.path, folder.study, "other")
    with pytest.raises(StudyError, match="other data or another model file"):
        other_data.open()


def test_more_seeds_and_methods_are_welcome(folder: RunFolder) -> None:
    folder.open()
    more = Study(data="digits", epochs=2, seeds=9, methods=("none", "l1"))
    RunFolder(folder.path, more, folder.fingerprint).open()
    assert Study.from_toml(folder.path / "study.toml") == more


def test_a_foreign_folder_is_refused(folder: RunFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyError, match="not empty and holds no study"):
        folder.open()
    assert [file.name for file in folder.path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_refused(folder: RunFolder) -> None:
    folder.path.write_text("mine")
    with pytest.raises(StudyError, match="is a file"):
        folder.open()


def test_a_damaged_study_file_is_one_clear_line(folder: RunFolder) -> None:
    folder.open()
    (folder.path / "study.toml").write_text("data = [")
    with pytest.raises(StudyError, match="cannot read"):
        folder.open()


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode

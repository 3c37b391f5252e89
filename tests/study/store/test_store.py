"""The run folder: whole files or none, never another study's, and one process at a time."""

import errno
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from dropkit.files import write_atomic
from dropkit.study import Run, Scores, Study, StudyError, compare
from dropkit.study.record import Curve, Miscalibration, Timing
from dropkit.study.store import lock
from dropkit.study.store.folder import Key, RunFolder

NONE_0: Key = ("none", 0, None)


def make_run(method: str = "none", seed: int = 0) -> Run:
    scores = Scores(0.1, 0.02, Miscalibration(0.0001))
    curve = Curve((3, 6), (1.0, None), (0.9, 0.8), (0.1, 0.05))
    timing = Timing(1.5, 0.01)
    return Run(
        method, seed, "finished", 6, 2, {"lr": 0.1}, curve, scores, scores, scores, "gA==", timing
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run", Study(data="digits", epochs=2), "fingerprint")


@pytest.fixture
def opened(folder: RunFolder) -> Iterator[RunFolder]:
    with folder.opened():
        yield folder


def open_once(folder: RunFolder) -> None:
    with folder.opened():
        pass


def only(folder: RunFolder, below: str = "runs") -> Path:
    (file,) = (folder.path / below).iterdir()
    return file


def test_a_run_survives(opened: RunFolder) -> None:
    assert opened.load("none", 0) is None
    opened.save(make_run())
    assert opened.load("none", 0) == make_run()
    assert opened.load("none", 1) is None
    assert opened.load("none", 0, trial=0) is None
    loaded = opened.load_all([NONE_0, ("none", 1, None)])
    assert loaded.runs == {NONE_0: make_run()}
    assert loaded.warning == ""


def test_methods_with_like_names_do_not_share_a_file(opened: RunFolder) -> None:
    opened.save(make_run("dropout(p=0.3)"))
    assert opened.load("dropout(p=0,input=3)", 0) is None
    assert opened.load("dropout-p-0.3", 0) is None


def flipped(content: bytes) -> bytes:
    """One bit in the middle: still JSON, as a digit is another digit."""
    digit = re.search(rb'"loss": 0.1', content)
    assert digit
    return content[: digit.end() - 1] + b"3" + content[digit.end() :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[:-1],
    "half": lambda content: content[: len(content) // 2],
    "one byte more": lambda content: content + b" ",
    "garbage": lambda content: bytes(range(256)) * 9,
    "zeros, as after a power cut": lambda content: bytes(len(content)),
    "another schema": lambda content: b'{"method": "none", "seed": 0}',
    "not a record": lambda content: b"[1]",
    "deep": lambda content: b"[" * 100_000,
    "NaN": lambda content: content.replace(b"0.02", b"NaN"),
    "huge": lambda content: content.replace(b"0.02", b"1e999"),
    "another number": flipped,
    "another format": lambda content: content.replace(b"dropkit-run/2", b"dropkit-run/9"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_counts_as_not_done(
    opened: RunFolder, damage: Callable[[bytes], bytes]
) -> None:
    opened.save(make_run())
    file = only(opened)
    damaged = damage(file.read_bytes())
    assert damaged != file.read_bytes()
    file.write_bytes(damaged)
    loaded = opened.load_all([NONE_0])
    assert loaded.runs == {}
    assert loaded.unreadable == (f"runs/{file.name}",)
    opened.save(make_run())
    assert opened.load(*NONE_0) == make_run()


def test_a_run_in_anothers_place_counts_as_not_done(opened: RunFolder, tmp_path: Path) -> None:
    opened.save(make_run())
    content = only(opened).read_bytes()
    for key in (("none", 1, None), ("l1", 0, None), ("none", 0, 0)):
        file = opened._file(*key)
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        assert opened.load_all([key]).unreadable == (f"{file.parent.name}/{file.name}",)
    for study, data in ((Study(data="digits", epochs=3), "fingerprint"), (opened.study, "other")):
        other = RunFolder(tmp_path / f"other-{data}", study, data)
        with other.opened():
            other.save(make_run())
            only(other).write_bytes(content)
            assert len(other.load_all([NONE_0]).unreadable) == 1


def test_a_folder_in_a_runs_place_is_set_aside(opened: RunFolder) -> None:
    opened.save(make_run())
    file = only(opened)
    file.unlink()
    file.mkdir()
    (file / "mine").write_text("mine")
    assert len(opened.load_all([NONE_0]).unreadable) == 1
    opened.save(make_run())
    assert opened.load(*NONE_0) == make_run()
    assert [found.read_text() for found in file.parent.rglob("mine")] == ["mine"]


@pytest.fixture
def nobody() -> Iterator[Path]:
    """Be somebody whom permissions stop, in a folder of one's own."""
    with tempfile.TemporaryDirectory() as place:
        me = os.geteuid()
        if me == 0:
            os.chown(place, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(place)
        finally:
            os.seteuid(me)


def test_a_run_that_may_not_be_read_counts_as_not_done(nobody: Path) -> None:
    folder = RunFolder(nobody / "run", Study(data="digits"), "")
    with folder.opened():
        folder.save(make_run())
        only(folder).chmod(0)
        assert len(folder.load_all([NONE_0]).unreadable) == 1
        folder.save(make_run())
        assert folder.load(*NONE_0) == make_run()


def test_damaged_runs_are_reported_in_one_line(opened: RunFolder) -> None:
    for seed in range(2):
        opened.save(make_run(seed=seed))
    for file in sorted((opened.path / "runs").iterdir()):
        file.write_bytes(b"")
    keys: list[Key] = [("none", seed, None) for seed in range(3)]
    said = opened.load_all(keys).warning
    assert said.startswith("2 finished runs are damaged")
    assert re.search(r"the first is runs/none-\w+-seed0.json$", said)
    assert opened.load_all(keys[:1]).warning.startswith("1 finished run is damaged")


@pytest.mark.parametrize("where", ["s3://bucket/run", "file:///tmp/run"])
def test_an_address_is_no_run_folder(where: str) -> None:
    with pytest.raises(StudyError, match=f"^out must be a folder on this machine .*, got {where}$"):
        compare("digits", methods="none", epochs=1, out=where, jobs=1)


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
    open_once(folder)
    longer = RunFolder(folder.path, Study(data="digits", epochs=3), folder.fingerprint)
    with pytest.raises(StudyError, match="epochs is 2 there and 3 here"):
        open_once(longer)
    other_data = RunFolder(folder.path, folder.study, "other")
    with pytest.raises(StudyError, match="other data or another model file"):
        open_once(other_data)


def test_more_seeds_and_methods_are_welcome(folder: RunFolder) -> None:
    open_once(folder)
    more = Study(data="digits", epochs=2, seeds=9, methods=("none", "l1"))
    open_once(RunFolder(folder.path, more, folder.fingerprint))
    assert Study.from_toml(folder.path / "study.toml") == more


def test_a_foreign_folder_is_refused(folder: RunFolder) -> None:
    folder.path.mkdir()
    (folder.path / "thesis.tex").write_text("mine")
    with pytest.raises(StudyError, match="not empty and holds no study"):
        open_once(folder)
    assert [file.name for file in folder.path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_folders_place_is_refused(folder: RunFolder) -> None:
    folder.path.write_text("mine")
    with pytest.raises(StudyError, match="is a file"):
        open_once(folder)


def test_a_damaged_study_file_is_one_clear_line(folder: RunFolder) -> None:
    open_once(folder)
    (folder.path / "study.toml").write_text("data = [")
    with pytest.raises(StudyError, match="cannot read"):
        open_once(folder)


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    write_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_write_that_outgrows_the_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """With a limit on file sizes, which the system itself enforces in the middle of a write."""
    file = tmp_path / "results.json"
    write_atomic(file, "old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            write_atomic(file, "new" * 4096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert refused.value.filename == str(file)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_study_killed_at_its_very_start_can_start_again(folder: RunFolder) -> None:
    folder.path.mkdir()
    for name in (".lock", ".study.toml.123.part"):
        (folder.path / name).write_text("")
    open_once(folder)
    assert sorted(os.listdir(folder.path)) == [
        ".lock",
        "manifest.json",
        "runs",
        "study.toml",
    ]


def test_what_a_killed_process_left_half_written_is_removed(folder: RunFolder) -> None:
    open_once(folder)
    for place in (".", "runs"):
        (folder.path / place / ".results.json.123.part").write_text("{")
    open_once(folder)
    assert not list(folder.path.rglob("*.part"))


def test_a_second_study_in_one_process_is_refused(opened: RunFolder) -> None:
    with pytest.raises(StudyError, match=rf"is in use by process {os.getpid()} on "):
        open_once(opened)


def test_a_study_that_was_quicker_is_not_overwritten(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicker = RunFolder(folder.path, Study(data="digits", epochs=3), "fingerprint")
    hold = lock.hold

    def late(path: Path) -> AbstractContextManager[None]:
        monkeypatch.setattr(lock, "hold", hold)
        open_once(quicker)
        return hold(path)

    monkeypatch.setattr(lock, "hold", late)
    with pytest.raises(StudyError, match="epochs is 3 there and 2 here"):
        open_once(folder)
    open_once(quicker)


def test_a_folder_can_be_opened_again_after_an_error(folder: RunFolder) -> None:
    with pytest.raises(ZeroDivisionError), folder.opened():
        raise ZeroDivisionError
    open_once(folder)


HOLD = """
import sys, time
from pathlib import Path
from dropkit.study import Study, StudyError
from dropkit.study.store.folder import RunFolder

folder = RunFolder(Path(sys.argv[1]), Study(data="digits", epochs=2), "fingerprint")
print("ready", flush=True)
sys.stdin.readline()
try:
    with folder.opened():
        print("in", flush=True)
        sys.stdin.readline()
except StudyError as error:
    print(error, flush=True)
"""


def test_of_many_processes_one_gets_the_folder_and_its_death_frees_it(folder: RunFolder) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", HOLD, str(folder.path)]
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:  # all at once
            process.stdin.write("\n")
            process.stdin.flush()
        said = {process.pid: process.stdout.readline() for process in processes}
        (winner,) = (process for process in processes if said[process.pid] == "in\n")
        for process in processes:
            if process is not winner:
                assert "is in use by " in said[process.pid]
        with pytest.raises(StudyError, match=f"is in use by process {winner.pid} on "):
            open_once(folder)
        winner.kill()
        winner.wait()
        open_once(folder)
    finally:
        for process in processes:
            process.kill()
            process.communicate()

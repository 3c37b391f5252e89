"""What comes from anyone runs nothing, writes nowhere else, and speaks to no one."""

import ast
import csv
import gzip
import html
import io
import json
import pickle
import re
import shutil
import socket
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import dropkit
from dropkit.cli import run
from dropkit.study.data import DataError, load
from helpers.little_memory import little_memory, needs_limits

SOURCE = Path(dropkit.__file__).parent
QUICK = ["--methods", "none,dropout", "--seeds", "2", "--epochs", "1", "--hidden", "4"]
QUICK += ["--jobs", "1"]

# What reads objects or code from bytes, and where it may stand: `testing` copies the layer that
# it is given, and studies hand trainings to processes of their own.
RUNS = r"eval|exec|compile|__import__|os\.system|os\.popen|\w*pickle\.loads?|\w*\.read_pickle"
RUNS += r"|(torch|joblib|yaml|marshal|shelve|dill)\.(load|loads|open|unsafe_load|full_load)"
ALLOWED = {
    "testing.py": {"pickle.loads"},
    "study/training/devices.py": {"pickle.load", "pickle.loads"},
    "study/workers/local.py": {"pickle.loads"},
    "study/workers/main.py": {"pickle.loads"},
    "study/workers/parcel.py": {"pickle.loads"},
}


def calls(file: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_the_source_reads_no_objects_and_no_code() -> None:
    found: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        name = file.relative_to(SOURCE).as_posix()
        for called, node in calls(file):
            if re.fullmatch(RUNS, called):
                found.setdefault(name, set()).add(called)
            if called in ("np.load", "numpy.load"):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert given.get("allow_pickle") == "False", name
            if re.fullmatch(r".*\.(extract|extractall|unpack_archive)", called):
                raise AssertionError(f"{name} writes where an archive says: {called}")
            assert not any(
                k.arg == "shell" and ast.unparse(k.value) != "False" for k in node.keywords
            ), name
    assert found == ALLOWED


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet", ".png"])
def test_a_pickle_is_not_loaded(suffix: str, tmp_path: Path) -> None:
    loaded = tmp_path / "loaded"
    if suffix == ".npz":
        objects = np.array([Bomb(loaded)] * 30, dtype=object)
        np.savez(tmp_path / "data.npz", X=objects, y=np.arange(30) % 2)
        source = tmp_path / "data.npz"
    elif suffix == ".png":
        for name in ("a", "b"):
            (tmp_path / "images" / name).mkdir(parents=True)
            (tmp_path / "images" / name / "1.png").write_bytes(pickle.dumps(Bomb(loaded)))
        source = tmp_path / "images"
    else:
        source = tmp_path / f"data{suffix}"
        source.write_bytes(pickle.dumps(Bomb(loaded)))
    with pytest.raises(DataError):
        load(source)
    assert not loaded.exists()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run(["compare", "digits", *QUICK, "--out", str(folder)]) == 0
    return folder


def test_a_pickle_in_the_place_of_any_file_of_a_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in sorted(path for path in finished.rglob("*") if path.is_file()):
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(finished, folder)
        (folder / file.relative_to(finished)).write_bytes(pickle.dumps(Bomb(tmp_path / "loaded")))
        for words in (["report", str(folder)], ["compare", "digits", *QUICK, "--out", str(folder)]):
            assert run(words) in (0, 2)
            assert "Traceback" not in capsys.readouterr().err
        assert not (tmp_path / "loaded").exists(), file


def test_an_archive_that_names_other_places(tmp_path: Path) -> None:
    arrays = {}
    for name, values in {
        "X": np.random.default_rng(0).normal(size=(30, 2)),
        "y": np.arange(30) % 2,
    }.items():
        out = io.BytesIO()
        np.save(out, values)
        arrays[name] = out.getvalue()
    (tmp_path / "inside").mkdir()
    with zipfile.ZipFile(tmp_path / "inside/data.npz", "w") as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
            archive.writestr(f"../{name}.npy", content)
            archive.writestr(f"{tmp_path}/{name}.npy", content)
        link = zipfile.ZipInfo("link.npy")
        link.external_attr = 0o120777 << 16  # a symbolic link
        archive.writestr(link, str(tmp_path / "target"))
    before = sorted(tmp_path.rglob("*"))
    assert load(tmp_path / "inside/data.npz").X.shape == (30, 2)
    assert sorted(tmp_path.rglob("*")) == before


@needs_limits
@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_what_unpacks_to_more_than_memory_is_one_line(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A header that promises a tebibyte, and 2 GiB of zeros in a small file."""
    monkeypatch.chdir(tmp_path)
    if kind == "npz":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472, 1), }\n"
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("X.npy", start)
            archive.writestr("y.npy", start)
        words = ["compare", "data.npz"]
    else:
        zeros = gzip.compress(bytes(2**26), 9)
        parts = ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"]
        for part in parts:
            (tmp_path / f"{part}-ubyte.gz").write_bytes(32 * zeros)
        words = ["compare", "mnist", "--data-dir", "."]
    with little_memory(2**30):
        assert run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "memory" in line
    assert "unexpected" not in line


# Markup, a sequence that clears a terminal, one of C1, a change of the direction of writing, a
# way up, a formula: as far as a file system takes them, for the names of files.
EVIL = "=cmd|' /C calc'!A0 <script>alert(1)</script>\x1b[2J\x9b31m\u202e[red]../x"
EVIL_FILE = EVIL.replace("/", "_")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)


def check_harmless_output(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Check that nothing is printed or written that a terminal, a browser or a spreadsheet runs."""
    out, err = capsys.readouterr()
    assert not CONTROL.search(out), out
    assert not CONTROL.search(err), err
    page = (folder / "report.html").read_text()
    assert not CONTROL.search(page)
    assert "script" not in Tags(page).tags
    with (folder / "results.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    for cell in cells:
        assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") or float(cell) is not None
    return out + err + html.unescape(page)


def test_names_of_columns_classes_files_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).normal(size=60)
    with open(f"{EVIL_FILE}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"{EVIL} feature", f"{EVIL} dropped", f"{EVIL} target"])
        for number, value in enumerate(rows):
            writer.writerow([value, f"{EVIL} {number}", f"{EVIL} {number % 2}"])
    out = tmp_path / f"{EVIL_FILE} out"
    words = ["compare", f"{EVIL_FILE}.csv", *QUICK, "--out", str(out)]
    assert run(words) == 0
    said = check_harmless_output(capsys, out)
    assert "<script>" in said  # it was named, and did nothing
    assert run(["report", str(out)]) == 0
    check_harmless_output(capsys, out)
    (out / "results.json").unlink()
    assert run(["report", str(out)]) == 2
    _, err = capsys.readouterr()
    assert not CONTROL.search(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{EVIL_FILE}.csv", out.name]
    )


def test_every_text_of_results(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results from anyone, in which every text is hostile, the names of methods among them."""

    def hostile(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {k: hostile(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [hostile(v, key) for v in value]
        kept = ("task", "status", "row_errors", "format", "weights")
        return f"{EVIL}{value}" if isinstance(value, str) and key not in kept else value

    record = json.loads((finished / "results.json").read_text())
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(hostile(record)))
    capsys.readouterr()
    assert run(["report", str(folder)]) == 0
    assert "<script>" in check_harmless_output(capsys, folder)


def test_a_study_and_its_report_speak_to_no_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a request")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert run(["compare", "digits", *QUICK, "--out", str(tmp_path / "run")]) == 0
    assert run(["report", str(tmp_path / "run")]) == 0

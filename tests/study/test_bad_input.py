"""What cannot run: one line on stderr, exit code 2, nothing written."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results
from helpers.small_disk import small_disk

QUICK = shlex.split("--methods none,dropout --seeds 1 --epochs 1 --hidden 8 --jobs 1")

RNG = np.random.default_rng(0)
NUMBERS = [f"{number:.3f}" for number in RNG.normal(size=40)]
AB = ["a", "b"] * 20


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_bytes(table(NUMBERS, AB))
    return tmp_path


def table(values: list[str], target: list[str]) -> bytes:
    rows = [f"{value},{wanted}\n" for value, wanted in zip(values, target, strict=True)]
    return f"size,kind\n{''.join(rows)}".encode()


def contents() -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must be refused; return its one line."""
    before = contents()
    assert cli.run(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("dropkit: ")
    assert len(err.splitlines()) == 1, err
    assert "add --debug" not in err  # which is said of what nobody foresaw
    assert contents() == before
    return err


DATA = {
    "one class": (table(NUMBERS, ["a"] * 40), [], r"one class \('a'\)"),
    "a scarce class": (table(NUMBERS, ["a"] * 38 + ["b"] * 2), [], r"class 'b'.* 2 of 40 rows"),
    "too few rows": (table(NUMBERS[:4], NUMBERS[:4]), [], "4 rows.* at least 5"),
    "empty": (b"", [], "is empty"),
    "blank": (b"\n \n", [], "is empty"),
    "a header alone": (b"size,kind\n", [], "a header and no rows"),
    "one column": (b"size\n1\n2\n", [], "one column"),
    "text for a number": (
        table(NUMBERS, [*NUMBERS[:-1], "tall"]),
        ["--task", "regression"],
        "must be numbers.*'tall' in row 40",
    ),
    "an infinite target": (
        table(NUMBERS, [*NUMBERS[:-1], "-inf"]),
        [],
        "'kind' is infinite in 1 of 40 rows",
    ),
    "a missing target": (table(NUMBERS, [*NUMBERS[:-1], ""]), [], "missing or NaN.* row 40"),
    "a NaN class": (table(NUMBERS, [*AB[:-1], "NaN"]), [], "missing or NaN.* row 40"),
    "a target too large": (table(NUMBERS, [*NUMBERS[:-1], "2e300"]), [], "must not exceed 1e.18"),
    "an infinite feature": (table([*NUMBERS[:-1], "inf"], AB), [], "'size' is infinite in row 40"),
    "a feature too large": (
        table([*NUMBERS[:-1], "-1.8e308"], AB),
        [],
        "'size' is infinite|'size' must not exceed",
    ),
    "a sentinel": (table([*NUMBERS[:-1], "-1.7e308"], AB), [], "'size' must not exceed 1e.100"),
    "another encoding": ("size,kind\n1,ä\n".encode("latin-1"), [], r"not UTF-8.*line 2.*iconv"),
    "two-byte characters": (table(NUMBERS, AB).decode().encode("utf-16"), [], "UTF-16"),
    "zero bytes": (b"size,kind\n1,a\0\n", [], "not text"),
    "a long row": (b"size,kind\n1,a\n2,b,3\n", [], "line 3 has 3 cells, expected 2"),
    "a short row": (b"size,kind\n1,a\n2\n", [], "line 3 has 1 cells, expected 2"),
    "a name twice": (b"size,size,kind\n1,2,a\n", [], "'size' occurs 2 times"),
    "no feature": (table(["1.5"] * 40, AB), [], "no feature is left.*constant"),
}


@pytest.mark.parametrize(("content", "options", "message"), DATA.values(), ids=DATA.keys())
def test_a_table(
    capsys: pytest.CaptureFixture[str], content: bytes, options: list[str], message: str
) -> None:
    Path("bad.csv").write_bytes(content)
    assert re.search(message, refused(capsys, "compare", "bad.csv", *options))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("god.csv", "no file 'god.csv': did you mean 'good.csv'"),
        ("digit", "did you mean 'digits'"),
        ("data.xyz", "no file 'data.xyz'"),
        ("empty.npz", "truncated or no .npz archive"),
        ("text.npz", "or the file is no .npz archive"),
        ("empty.parquet", "cannot be read as Parquet"),
        ("folder", "folder is empty.*two class subfolders"),
        ("good.csv --target knd", "no column 'knd' to predict: did you mean 'kind'"),
        ("digits --target kind", "target has no meaning for 'digits'"),
        ("good.csv --test gone.csv", "no file 'gone.csv'"),
        ("good.csv --test other.csv", "test set has no column 'size'"),
        ("good.csv --test unseen.csv", "test set has class 'c' .row 2."),
        ("mnist --data-dir folder", "train-images-idx3-ubyte"),
    ],
)
def test_a_file(capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    Path("folder").mkdir()
    for name in ("empty.npz", "empty.parquet"):
        Path(name).touch()
    Path("text.npz").write_text("size")
    Path("other.csv").write_text("length,kind\n1,a\n2,b\n")
    Path("unseen.csv").write_text("size,kind\n1,a\n2,c\n")
    assert re.search(message, refused(capsys, "compare", *words.split()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no study file 'study.toml'"),
        ("data = ", "cannot read study.toml as TOML"),
        ("seeds = 3", "a study needs data"),
        ('data = "good.csv"\nsedes = 3', "no setting 'sedes': did you mean 'seeds'"),
        ('data = "good.csv"\nlr = "fast"', "lr cannot be 'fast'"),
        ('data = "good.csv"\nmethods = ["drop"]', "unknown method 'drop'"),
    ],
)
def test_a_study_file(
    capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    if content is not None:
        Path("study.toml").write_text(content)
    assert message in refused(capsys, "compare", "study.toml")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("none,drpout", "unknown method 'drpout': did you mean 'dropout'"),
        ("Dropout", "did you mean 'dropout'"),
        ("dropout(q=0.5)", "dropout has no argument 'q'"),
        ("dropout(inptu=0.5)", "did you mean 'input'"),
        ("none(p=0.5)", "none takes no arguments"),
        ("dropout(p=1.5)", "p must be a number in [0, 1]"),
        ("dropout(p=-0.1)", "p must be a number in [0, 1]"),
        ("gaussian-dropout(input=nan)", "input must be a number in [0,"),
        ("dropout(p=half)", "p must be a number in [0, 1]"),
        ("dropout(0.5)", "write '0.5' as argument=value"),
        ("dropout(p=0.5,p=0.2)", "p is given twice"),
        ("dropout(p=0.5", "cannot read the method"),
        ("dropout+", "cannot read the method ''"),
        ("l1+l1", "names 'l1' twice"),
        ("weight-decay(coefficient=inf)", "and finite"),
        ("early-stopping(patience=inf)", "and finite"),
        ("early-stopping(patience=2.5)", "must be a whole number"),
        ("ensemble(members=1)", "members must be a whole number"),
        (",", "at least one method"),
    ],
)
def test_methods(capsys: pytest.CaptureFixture[str], methods: str, message: str) -> None:
    assert message in refused(capsys, "compare", "good.csv", "--methods", methods)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--seeds 0", "seeds must be from 1 to 100000, got 0"),
        ("--seeds 9000000000", "seeds must be from 1 to 100000"),  # refused before memory is
        ("--tune 9000000000", "tune must be from 0 to 100000"),
        ("--tune -1", "tune must be from 0"),
        ("--epochs 0", "epochs must be at least 1"),
        ("--batch-size 0", "batch_size must be at least 1"),
        ("--lr nan", "lr must be a finite number above 0"),
        ("--lr 0", "lr must be a finite number above 0"),
        ("--hidden 8,wide", "--hidden must be integers"),
        ("--hidden 0", "widths of at least 1"),
        ("--val-fraction 1.5", "val_fraction must be between 0 and 1"),
        ("--test-fraction nan", "test_fraction must be between 0 and 1"),
        ("--val-fraction 0.9", "val_fraction must be less than"),
        ("--val-fraction 0.01", "at least 100"),
        ("--threads 0", "threads must be at least 1"),
        ("--jobs 0", "jobs must be 1 or more, got 0"),
        ("--seeds many", "'--seeds'"),
        ("--weights last", "'--weights'"),
        ("--task classify", "'--task'"),
        ("--sedes 3", "No such option: --sedes"),
        ("--out", "'--out' requires an argument"),
        ("twice", "unexpected extra argument"),
        ("--model mpl", "unknown model 'mpl': did you mean 'mlp'"),
        ("--model cnn", "needs images"),
        ("--model nte.py:make", "no file 'nte.py': did you mean 'net.py'"),
        ("--model good.csv:make", "cannot read 'good.csv' as Python"),
        ("--model net.py:mkae", "no function 'mkae': did you mean 'make'"),
        ("--out good.csv", "good.csv is a file"),
        ("--out good.csv/run", "good.csv/run"),
        ("--out folder", "folder is not empty and holds no study"),
    ],
)
def test_options(capsys: pytest.CaptureFixture[str], words: str, message: str) -> None:
    Path("net.py").write_text("def make(): pass")
    Path("folder").mkdir()
    Path("folder/diary.txt").touch()
    line = refused(capsys, "compare", "good.csv", *QUICK, *words.split())
    assert message in line


def test_a_command_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'compare'" in refused(capsys, "comapre")


SHARED = "layer = nn.Linear(1, 8)\ndef make(): return nn.Sequential(layer, nn.ReLU(), "
FORWARD = (
    "class make(nn.Linear):\n    def __init__(self, i, o): super().__init__(i[0], o)\n"
    "    def forward(self, x):\n        y = super().forward(x)\n        "
)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def make(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(1)", "cannot run 'net.py': SystemExit"),
        ("def make(): raise SystemExit(1)", "the model function fails: SystemExit"),
        ("def make(i, o): raise OSError('two\\nlines')", "the model function fails: OSError: two"),
        ("def make(a, b, c): pass", "the model function fails: TypeError"),
        ("def make(): return None", "must return a torch.nn.Module, got NoneType"),
        ("def make(): return nn.Identity()", "no trainable parameters"),
        ("def make(i, o): return nn.Linear(i[0], o + 1)", "2 outputs per row (one per class)"),
        ("def make(i, o): return nn.Linear(99, o)", "fails on rows of shape 1 in evaluation mode"),
        ("def make(i, o): return nn.Linear(i[0], o)", "activation"),
        ("def make(i, o): return nn.Linear(i[0], o).double()", "dtype"),
        (SHARED + "nn.Linear(8, 2))", "two calls share parameters"),
        (FORWARD + "return y, y", "got a tuple in evaluation mode"),
        (FORWARD + "return (y, y) if self.training else y", "got a tuple in training mode"),
        (FORWARD + "assert not self.training, 'boom'; return y", "in training mode: boom"),
        (FORWARD + "return y.detach()", "without gradient"),
    ],
)
def test_a_model(capsys: pytest.CaptureFixture[str], source: str, message: str) -> None:
    Path("net.py").write_text(f"from torch import nn\n{source}\n")
    words = ("compare", "good.csv", "--model", "net.py:make", "--methods", "dropout")
    assert message in refused(capsys, *words)


def test_a_model_that_fails_in_its_tenth_step(capsys: pytest.CaptureFixture[str]) -> None:
    Path("net.py").write_text(
        f"from torch import nn\nsteps = []\n{FORWARD}steps.append(self.training)\n"
        "        assert sum(steps) < 10, 'boom'\n        return y\n"
    )
    words = ["compare", "good.csv", "--model", "net.py:make", "--methods", "none", "--jobs", "1"]
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len([line for line in err.splitlines() if not line.startswith("data: ")]) == 1
    assert "boom; add --debug to see where" in err
    written = sorted(path.name for path in Path("dropkit-runs").rglob("*.*"))
    assert written == [".lock", "manifest.json", "study.toml"]


def test_a_loss_that_is_nan_is_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    methods = "none,larger-steps(lr=1e30),l1"
    words = ["compare", "good.csv", *QUICK, "--methods", methods, "--epochs", "3", "--out", "run"]
    assert cli.run(words) == 0
    out, err = capsys.readouterr()
    assert "diverged" in out
    assert re.search(r"\[2/3\] larger-steps\(lr=1e\+30\), seed 0: diverged", err)
    statuses = [run.status for run in Results.load("run").runs]
    assert statuses == ["finished", "diverged", "finished"]


def test_batches_of_one_row_do_not_stop_batch_normalization(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("net.py").write_text(
        "from torch import nn\ndef make(): return nn.Sequential("
        "nn.Linear(1, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))\n"
    )
    words = ["compare", "good.csv", *QUICK, "--model", "net.py:make", "--batch-size", "23"]
    assert cli.run([*words, "--out", "run"]) == 0  # 24 training rows
    assert [run.steps for run in Results.load("run").runs] == [1, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--lr 0.2", "lr is 0.05 there and 0.2 here"),
        ("--epochs 2", "epochs is 1 there and 2 here"),
        ("--target size", "target"),
        ("--model net.py:make", "model is 'mlp' there"),
    ],
)
def test_a_run_folder_of_another_study(
    capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    Path("net.py").write_text(
        "from torch import nn\n"
        "def make(i, o): return nn.Sequential(nn.Linear(i[0], 4), nn.ReLU(), nn.Linear(4, o))\n"
    )
    assert cli.run(["compare", "good.csv", *QUICK, "--out", "run"]) == 0
    capsys.readouterr()
    line = refused(capsys, "compare", "good.csv", *QUICK, *words.split(), "--out", "run")
    assert message in line
    Path("good.csv").write_bytes(table(NUMBERS[::-1], AB))
    assert "other data" in refused(capsys, "compare", "good.csv", *QUICK, "--out", "run")


def test_a_run_folder_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/study.toml").write_text("data = ")
    line = refused(capsys, "compare", "good.csv", *QUICK, "--out", "run")
    assert "cannot read run/study.toml" in line


def test_a_run_folder_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run/study.toml").write_text('data = "good.csv"')
    assert "compare run/study.toml repeats" in refused(capsys, "compare", "run")


def test_a_report_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing" in refused(capsys, "report", "missing")
    Path("run").mkdir()
    assert "run/results.json is missing" in refused(capsys, "report", "run")
    for content in ("", "{", '{"format": "other"}', "[1]"):
        Path("run/results.json").write_text(content)
        assert "results.json" in refused(capsys, "report", "run")


@pytest.fixture
def disk(here: Path) -> Iterator[Path]:
    """A disk of 16 kB."""
    with small_disk(here / "disk", 16) as place:
        yield place


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


@pytest.mark.parametrize(
    ("size", "full_while"), [("16k", "runs are written"), ("56k", "the report is written")]
)
def test_a_full_disk(
    capsys: pytest.CaptureFixture[str], disk: Path, size: str, full_while: str
) -> None:
    remount(disk, f"size={size}")
    words = ["compare", "good.csv", *QUICK, "--seeds", "4", "--out", "disk/run"]
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *progress, last = (line for line in err.splitlines() if not line.startswith("data: "))
    assert all(line.startswith("[") for line in progress)
    assert last.startswith("dropkit: No space left on device (disk/run/")
    assert last.endswith("repeat the command to resume")
    kept = {path: path.read_bytes() for path in disk.rglob("*-seed*.json")}
    for path, content in kept.items():
        assert json.loads(content), path
    assert len(kept) == len(progress)
    assert (len(kept) == 8) == (full_while == "the report is written")
    assert not list(disk.rglob("*.part"))
    assert not list(disk.rglob("*.html"))

    remount(disk, "size=4m")
    assert cli.run(words) == 0
    err = capsys.readouterr().err
    assert f"{len(kept)} of 8 runs are already done" in err
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_disk_that_is_full_from_the_start(capsys: pytest.CaptureFixture[str], disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (disk / "film").write_bytes(b"0" * 100_000)
    assert "No space left" in refused(capsys, "compare", "good.csv", *QUICK, "--out", "disk/run")


def test_a_folder_that_may_not_be_written(
    capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if os.geteuid() == 0:  # whom no permission stops
        remount(request.getfixturevalue("disk"), "ro")
    else:
        Path("disk").mkdir(mode=0o500)
    line = refused(capsys, "compare", "good.csv", *QUICK, "--out", "disk/run")
    assert re.search(r"(Read-only file system|Permission denied) \(disk/run", line)


def test_control_characters_reach_neither_terminal_nor_page(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A table from elsewhere must not be able to write over what the user sees."""
    evil = "\x1b[2J\x9b31m\u202egnp"
    name = f"bad{evil}.csv"
    Path(name).write_text("a,b\n1,2\n1\n", encoding="utf-8")
    said = refused(capsys, "compare", name)
    assert "bad\\x1b[2J\\x9b31m\\u202egnp.csv: line 3" in said
    Path("table.csv").write_bytes(table(NUMBERS, AB).replace(b"kind", evil.encode()))
    assert "\x1b" not in refused(capsys, "compare", "table.csv", "--target", "siz")
    assert cli.run(["compare", "table.csv", *QUICK, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "\\x1b[2J" in out
    assert "\\x1b[2J" in page
    for text in (out, err, page):
        assert not set("\x1b\x9b\u202e") & set(text)

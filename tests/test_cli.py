"""The command line: results on stdout, one clear line and exit code 2 for what a user can mend."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results

FAST = [
    "--methods",
    "none,dropout",
    "--seeds",
    "1",
    "--epochs",
    "1",
    "--hidden",
    "8",
    "--jobs",
    "1",
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = ["size,colour,kind"]
    rows += [f"{rng.normal():.3f},{rng.choice(['red', 'blue'])},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "good.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must fail; return its one line."""
    before = sorted(Path().rglob("*"))
    assert cli.run(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert sorted(Path().rglob("*")) == before
    return err


def write(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    Path("bad.csv").write_bytes(content)
    return "bad.csv"


def table(values: list[str], target: list[str]) -> str:
    return write("x,y\n" + "".join(f"{v},{t}\n" for v, t in zip(values, target, strict=True)))


NUMBERS = [str(i * 1.5) for i in range(40)]
AB = ["a", "b"] * 20


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: "god.csv", [], r"god\.csv.*did you mean 'good\.csv'"),
        (lambda: "good.csv", ["--target", "knd"], r"'knd'.*did you mean 'kind'"),
        (lambda: table(NUMBERS, ["a"] * 40), [], r"one class|at least two"),
        (lambda: table(NUMBERS, ["a"] * 38 + ["b"] * 2), [], r"class 'b'.*2 of 40 rows"),
        (lambda: write(""), [], "empty"),
        (lambda: write("x,y\n"), [], "row"),
        (lambda: table(NUMBERS, [*NUMBERS[:-1], "tall"]), ["--task", "regression"], "'tall'"),
        (
            lambda: table(NUMBERS, [*NUMBERS[:-1], "inf"]),
            ["--task", "regression"],
            "infinite|finite",
        ),
        (lambda: table(NUMBERS, [*NUMBERS[:-1], ""]), ["--task", "regression"], "missing"),
        (lambda: write("x,y\n1,ä\n".encode("latin-1") * 9), [], "UTF-8"),
        (lambda: write("x,y\n1,2\n1,2,3\n"), [], r"line 3.*3"),
        (lambda: "good.csv", ["--methods", "none,drpout"], "did you mean 'dropout'"),
        (lambda: "good.csv", ["--methods", "dropout(q=0.5)"], "no argument 'q'"),
        (lambda: "good.csv", ["--methods", "dropout(p=1.5)"], r"p must be a number in \[0, 1\]"),
        (lambda: "good.csv", ["--methods", ","], "at least one method"),
        (lambda: "good.csv", ["--model", "net.py:make"], "no model file"),
        (lambda: "good.csv", ["--model", "mpl"], "did you mean 'mlp'"),
        (lambda: "good.csv", ["--model", "cnn"], "images"),
        (lambda: "good.csv", ["--hidden", "8,wide"], "whole numbers"),
        (lambda: "good.csv", ["--seeds", "0"], "seeds must be from 1"),
        (lambda: "good.csv", ["--lr", "nan"], "lr must be a finite number"),
        (lambda: "good.csv", ["--out", "good.csv"], "is a file"),
        (lambda: "good.csv", ["--test", "missing.csv"], r"missing\.csv"),
        (lambda: "study.toml", [], "no study file"),
        (lambda: "data.xyz", [], r"data\.xyz"),
    ],
)
def test_bad_input(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[], str],
    options: list[str],
    message: str,
) -> None:
    assert re.search(message, fails(capsys, "compare", make(), *options))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def make(:", "SyntaxError"),
        ("import torch\ndef make(i, o): return torch.nn.Linear(i[0], o + 1)", "2 outputs per row"),
        ("import torch\ndef make(i, o): return torch.nn.Linear(99, o)", "model fails on rows"),
        ("import torch\ndef make(i, o): return torch.nn.Linear(i[0], o)", "activation"),
    ],
)
def test_bad_model(
    here: Path, capsys: pytest.CaptureFixture[str], source: str, message: str
) -> None:
    Path("net.py").write_text(source)
    line = fails(capsys, "compare", "good.csv", "--model", "net.py:make", "--methods", "dropout")
    assert message in line


def test_a_model_that_fails_only_in_training(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("net.py").write_text(
        "import torch\nclass make(torch.nn.Linear):\n"
        "    def __init__(self, i, o): super().__init__(i[0], o)\n"
        "    def forward(self, x):\n"
        "        assert not self.training, 'boom'\n        return super().forward(x)\n"
    )
    words = ["compare", "good.csv", "--model", "net.py:make", "--methods", "none", "--jobs", "1"]
    assert cli.run(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "boom" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_debug_shows_the_traceback(here: Path) -> None:
    with pytest.raises(ValueError, match="did you mean"):
        cli.run(["compare", "good.csv", "--methods", "drpout", "--debug"])


def test_unknown_options_and_values_exit_with_2(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--sedes", "3"], ["--seeds", "many"], ["--weights", "last"], ["--jobs", "0"]):
        assert cli.run(["compare", "good.csv", *words]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_result_on_stdout_progress_on_stderr(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("one seed cannot tell")
    assert "report: run/report.html" in out
    assert "[1/2]" not in out
    assert [line[:5] for line in err.splitlines()] == ["[1/2]", "[2/2]"]
    files = sorted(file.name for file in Path("run").iterdir())
    assert files == ["report.html", "results.csv", "results.json", "runs", "study.toml"]


def test_the_same_command_again_repeats_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "good.csv", *FAST]) == 0
    first = capsys.readouterr()
    assert cli.run(["compare", "good.csv", *FAST]) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.splitlines() == ["2 of 2 trainings are already done"]


def test_a_run_folder_of_another_study_is_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0
    capsys.readouterr()
    before = {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}
    line = fails(capsys, "compare", "good.csv", *FAST, "--lr", "0.2", "--out", "run")
    assert "lr is 0.05 there and 0.2 here" in line
    assert {file: file.read_bytes() for file in before} == before


def test_a_full_disk_says_how_to_go_on(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        if len(list(Path("run").glob("runs/*.json"))) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "No space left" in line
    assert "run the same command again" in line
    assert not list(Path("run").rglob("*.part"))
    monkeypatch.undo()
    os.chdir(here)
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0
    assert "1 of 2 trainings are already done" in capsys.readouterr().err


def test_report_of_what_is_no_run_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing" in fails(capsys, "report", "missing")
    Path("run").mkdir()
    assert "results.json" in fails(capsys, "report", "run")
    Path("run/results.json").write_text('{"format": "other"}')
    assert "format" in fails(capsys, "report", "run")
    Path("run/results.json").write_text("{")
    assert "results.json" in fails(capsys, "report", "run")


def test_methods_lists_every_method_with_its_arguments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["methods"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"gaussian-dropout\n.*Srivastava et al. 2014", out)
    assert "p=0.5" in out


def test_a_study_file_with_an_option_on_top(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.toml").write_text('data = "good.csv"\nmethods = ["none"]\nepochs = 1\nseeds = 2\n')
    assert cli.run(["compare", "study.toml", "--seeds", "1", "--out", "run", "--jobs", "1"]) == 0
    assert [run.seed for run in Results.load("run").runs] == [0]


def test_a_reader_that_goes_away_gets_no_traceback(here: Path) -> None:
    command = f"{sys.executable} -m dropkit methods | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stdout == "none\n"
    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert re.match(r"dropkit \d+\.\d+", capsys.readouterr().out)

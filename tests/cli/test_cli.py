"""The command line: the result on stdout, progress on stderr, what is done is never repeated."""

import errno
import html
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dropkit import cli
from dropkit.study import Results
from dropkit.study.data import DataError

FAST = shlex.split("--methods none,dropout --seeds 1 --epochs 1 --hidden 8 --jobs 1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = ["size,colour,kind"]
    rows += [f"{rng.normal():.3f},{rng.choice(['red', 'blue'])},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "good.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which ``dropkit`` is the command."""
    dropkit = f"{shlex.quote(sys.executable)} -m dropkit"
    words = command.replace("dropkit", dropkit)
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return subprocess.run(["bash", "-c", words], capture_output=True, text=True, env=buffered)


def test_debug_shows_the_traceback_and_nothing_else_does(here: Path) -> None:
    plain = shell("dropkit compare god.csv")
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr == "dropkit: no file 'god.csv': did you mean 'good.csv'?\n"
    debug = shell("dropkit compare god.csv --debug")
    assert debug.returncode != 0
    assert "Traceback" in debug.stderr
    assert "did you mean 'good.csv'" in debug.stderr.splitlines()[-1]
    with pytest.raises(DataError, match="did you mean"):
        cli.run(["--debug", "compare", "god.csv"])


def test_result_on_stdout_progress_on_stderr(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("No method beats a constant prediction: the test error of always")
    assert "report: run/report.html" in out
    assert "[1/2]" not in out
    told, *progress = filter(None, err.splitlines())  # older versions of rich end with a blank line
    assert told == "data: target not given: the last column 'kind' was taken"
    assert [line[:5] for line in progress] == ["[1/2]", "[2/2]"]
    files = sorted(file.name for file in Path("run").iterdir())
    assert files == [
        ".lock",
        "manifest.json",
        "predictions.npz",
        "report.html",
        "results.csv",
        "results.json",
        "runs",
        "study.toml",
    ]


def test_the_same_command_again_repeats_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "good.csv", *FAST]) == 0
    first = capsys.readouterr()
    assert cli.run(["compare", "good.csv", *FAST]) == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.strip() == "2 of 2 runs are already done"


def test_the_next_command_keeps_the_runs_of_a_folder_that_was_chosen(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "digits --methods none,dropout --seeds 1 --epochs 3 --hidden 64 --jobs 1"
    assert cli.run(["compare", *shlex.split(few), "--out", "my run"]) == 0
    (command,) = re.findall(r"^  dropkit (.+)$", capsys.readouterr().out, re.MULTILINE)
    assert command.endswith("--seeds 5 --out 'my run'")
    assert command in html.unescape(Path("my run", "report.html").read_text("utf-8"))
    assert cli.run([*shlex.split(command), "--jobs", "1"]) == 0
    assert capsys.readouterr().err.startswith("2 of 10 runs are already done")


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
    assert "repeat the command" in line
    assert not list(Path("run").rglob("*.part"))
    monkeypatch.undo()
    os.chdir(here)
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0
    assert "1 of 2 runs are already done" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (
            "compare good.csv --time-limit 30 --jobs 1 --out my\\ run",
            "dropkit compare good.csv --methods none --out 'my run' --jobs 1 --time-limit 30",
        ),
        ("compare good.csv --out run", "dropkit compare good.csv --methods none --out run"),
    ],
)
def test_what_goes_on_after_an_interruption(
    words: str,
    again: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dropkit.study.run.run", interrupted)
    assert cli.run([*shlex.split(words), "--methods", "none", "--epochs", "1"]) == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.strip() == again.replace("none", "none --epochs 1")
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert cli.run(shlex.split(said)[1:]) == 0


def test_an_interruption_outside_of_a_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dropkit.cli._app.app", interrupted)
    assert cli.run(["methods"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture
def study(here: Path) -> None:
    assert cli.run(["compare", "good.csv", *FAST, "--out", "run"]) == 0


# The one is printed at once, when all is done; the other piece by piece.
@pytest.mark.parametrize("command", ["dropkit methods", "dropkit report run"])
def test_a_reader_that_goes_away_gets_no_traceback(study: None, command: str) -> None:
    done = shell(f"{command} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["dropkit methods", "dropkit report run"])
def test_a_result_that_cannot_be_written(study: None, command: str) -> None:
    done = shell(f"{command} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("dropkit: No space left on device")
    assert len(done.stderr.splitlines()) == 1


def test_a_package_that_is_missing_is_named_with_the_extra_that_has_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli.run(["compare", "good.csv", *FAST, "--tune", "1"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert (
        said == "dropkit: this needs optuna, which is not installed: pip install 'dropkit[study]'"
    )


@pytest.mark.parametrize(("jobs", "said"), [("2", "torch here: False\n"), ("1", "")])
def test_workers_start_before_this_process_imports_torch(jobs: str, said: str) -> None:
    code = (
        "import sys\n"
        "from dropkit.cli import run\n"
        "from dropkit.study.workers import launch\n"
        "launch.start_server = lambda: print('torch here:', 'torch' in sys.modules)\n"
        f"run(['compare', 'digits', '--methods', 'drpout', '--jobs', '{jobs}'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == said
    assert "did you mean" in done.stderr


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["-h"], ["compare", "--help"], ["report", "-h"], ["methods", "-h"]):
        assert cli.run(words) == 0
        out, err = capsys.readouterr()
        assert out.startswith("Usage: dropkit")
        assert err == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert re.match(r"dropkit \d+\.\d+", capsys.readouterr().out)


def test_a_report_is_of_a_folder(study: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", "run/results.json"]) == 2
    assert "must be a run folder, got the file run/results.json" in capsys.readouterr().err

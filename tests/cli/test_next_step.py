"""The command of the next step, as a user would paste it."""

import shlex
from pathlib import Path

import pytest

from dropkit import cli
from dropkit.study import Results
from dropkit.study.analysis.advice import change_command
from helpers.tiny import no_training, write_table


@pytest.mark.parametrize("out", ["my runs", None])
def test_the_next_step_goes_on_in_the_folder_that_was_named(
    out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_table(tmp_path / "rows.csv")
    words = [
        "compare",
        "rows.csv",
        "--methods",
        "none,l1",
        "--epochs",
        "1",
        "--hidden",
        "4",
        "--jobs",
        "1",
        "--seeds",
        "3",
    ]
    with no_training():
        assert cli.run([*words, *([] if out is None else ["--out", out])]) == 0
        (folder,) = [file.parent for file in tmp_path.rglob("results.json")]
        command = shlex.split(change_command(Results.load(folder).record.command, seeds=4))
        assert command[:3] == ["dropkit", "compare", "rows.csv"]
        assert ("--out" in command) == (out is not None)
        assert cli.run(command[1:]) == 0
    assert len(list(tmp_path.rglob("results.json"))) == 1  # the same folder

"""A function in a user's file: found by name, its errors in one line."""

import os
import sys
from pathlib import Path

import pytest

from dropkit.errors import StudyError
from dropkit.user_code import call_function, load_function


def test_the_file_is_run_with_its_folder_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WIDTH = 7")
    (tmp_path / "net.py").write_text("from beside import WIDTH\ndef width(): return WIDTH")
    assert load_function(f"{tmp_path / 'net.py'}:width")() == 7


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nett.py:make", r"no file .*nett\.py.*: did you mean .*net\.py"),
        ("net.py:mkae", "no function 'mkae': did you mean 'make'"),
        ("broken.py:make", "cannot run .*SyntaxError"),
        ("exits.py:make", "cannot run .*SystemExit"),
    ],
)
def test_what_cannot_be_loaded(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "net.py").write_text("def make(): pass")
    (tmp_path / "broken.py").write_text("def make(: pass")
    (tmp_path / "exits.py").write_text("raise SystemExit(1)")
    with pytest.raises(StudyError, match=message):
        load_function(f"{tmp_path / spec}")


def test_a_name_without_a_file_says_the_form() -> None:
    with pytest.raises(StudyError, match=r"give a function as file\.py:function, got 'make'"):
        load_function("make")


def test_errors_of_the_function_are_one_study_error() -> None:
    assert call_function(divmod, 7, 2) == (3, 1)
    with pytest.raises(StudyError, match="the model function fails: ZeroDivisionError"):
        call_function(divmod, 7, 0)
    with pytest.raises(StudyError, match="ran out of memory; use a smaller model"):
        call_function(_too_large)


def _too_large() -> None:
    raise MemoryError


def test_a_file_that_was_edited_within_a_second_is_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = tmp_path / "net.py"
    found = []
    for number in (1, 2):
        file.write_text(f"def make(): return {number}\n")
        os.utime(file, (1_000_000_000, 1_000_000_000))
        found.append(load_function(f"{file}:make")())
    assert found == [1, 2]
    assert list(tmp_path.iterdir()) == [file]

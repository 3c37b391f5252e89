"""Load and call a function in a user's file, given as ``file.py:function``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

from dropkit.errors import StudyError, is_out_of_memory
from dropkit.text import nearest


class _Source(SourceFileLoader):
    """Load a file from its source only, and write no bytecode.

    A file that was edited twice within a second may have bytecode of its first state.
    """

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def load_function(spec: str) -> Callable[..., Any]:
    """Run a file, and return the function given as ``file.py:function``.

    Raises:
        StudyError: the file or function does not exist, or the file cannot be run.
    """
    path, _, name = spec.rpartition(":")
    file = Path(path)
    if not path:
        raise StudyError(f"give a function as file.py:function, got {spec!r}")
    if not file.is_file():
        near = [str(p) for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        hint = f": {nearest(path, near)}" if near else ""
        raise StudyError(f"no file {path!r}{hint}")
    if file.suffix != ".py":
        raise StudyError(f"cannot read {path!r} as Python; give file.py:function")
    module_name = f"dropkit_model_{file.stem}"
    loader = _Source(module_name, str(file))
    module_spec = importlib.util.spec_from_file_location(module_name, file, loader=loader)
    assert module_spec is not None, "the loader is given"
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(file.resolve().parent))
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise StudyError(f"cannot run {path!r}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    found = getattr(module, name, None)
    if not callable(found):
        names = [key for key, value in vars(module).items() if inspect.isroutine(value)]
        hint = f": {nearest(name, names)}" if names else ""
        raise StudyError(f"{path} has no function {name!r}{hint}")
    return found  # type: ignore[no-any-return]


def call_function(function: Callable[..., Any], *arguments: Any, what: str = "model") -> Any:
    """Call a user's function, and convert its exceptions to `StudyError`.

    ``what`` names the function's purpose in the message.
    """
    try:
        return function(*arguments)
    except StudyError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise StudyError(
                f"the {what} function ran out of memory; use a smaller model, or fewer jobs"
            ) from error
        reason = f"{type(error).__name__}: {error}"
        raise StudyError(f"the {what} function fails: {reason}") from error

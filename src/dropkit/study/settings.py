"""Parse settings from plain values, write them as options, and read their help texts.

Settings are a frozen dataclass. Its fields and the ``Args`` of its docstring are the only
definition; the command line and Python both use them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from dropkit.errors import StudyError
from dropkit.text import nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Settings = TypeVar("Settings")
_ENTRY = re.compile(r"(\w+): (.*)")


def names(settings: type) -> tuple[str, ...]:
    """Return the names of the settings, in their order."""
    return tuple(field.name for field in dataclasses.fields(settings))


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `StudyError` with the nearest known name for a setting that does not exist."""
    known = tuple(known)
    for name in given:
        if name not in known:
            raise StudyError(f"a study has no setting {name!r}: {nearest(name, known)}")


def from_values(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build settings from plain values; raise `StudyError` for unknown or ill-typed ones."""
    from pydantic import ValidationError

    check_names(values, names(settings))
    try:
        made: Settings = _adapter(settings).validate_python(dict(values), strict=False)  # type: ignore[arg-type]
    except ValidationError as invalid:
        first = invalid.errors()[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, StudyError):
            raise cause from None
        where = first["loc"][0] if first["loc"] else settings.__name__.lower()
        rule = first["msg"]
        if first["type"] == "tuple_type":
            rule = f"give several values, such as {where}=[{first['input']!r}]"
        raise StudyError(f"{where} cannot be {first['input']!r}: {rule}") from None
    return made


@cache
def _adapter(settings: Any) -> TypeAdapter[Any]:
    """Create pydantic's adapter at first use, because creating it is slow."""
    from pydantic import TypeAdapter

    return TypeAdapter(settings)


def explanations(settings: type) -> dict[str, str]:
    """Return the description of each setting in the ``Args`` of the docstring.

    >>> from dropkit.study.execution import Execution
    >>> explanations(Execution)["jobs"]
    'number of parallel runs; by default as many as the cores allow.'
    """
    found: dict[str, str] = {}
    _, _, entries = (inspect.getdoc(settings) or "").partition("Args:\n")
    for line in entries.splitlines():
        if line and not line.startswith("    "):
            break
        entry = _ENTRY.match(line.strip())
        if entry and not line.startswith(" " * 5):
            name = entry[1]
            found[name] = entry[2]
        elif line.strip():
            found[name] += f" {line.strip()}"
    return {name: text.replace("`", "") for name, text in found.items()}


def to_options(settings: Any, *, skip: Iterable[str] = ()) -> list[str]:
    """Return the settings that differ from their defaults as command-line words.

    >>> from dropkit.study.execution import Execution
    >>> to_options(Execution(jobs=2, time_limit=30.0))
    ['--jobs', '2', '--time-limit', '30']
    """
    words: list[str] = []
    for field in dataclasses.fields(settings):
        value, option = getattr(settings, field.name), field.name.replace("_", "-")
        if field.name in skip or _as_text(value) == _as_text(field.default):
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", _as_text(value)]
    return words


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).removesuffix(".0")

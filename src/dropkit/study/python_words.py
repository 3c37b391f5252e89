"""Write command-line options in messages as Python arguments, for callers of Python functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dropkit.errors import StudyError

_FLAGS = frozenset(
    {"drop-missing", "paired", "higher-is-better", "until-decided", "until-converged", "prune",
     "ray"}
)  # fmt: skip
_NEGATIVE = {"unpaired": "paired", "lower-is-better": "higher_is_better"}
_NAMED = frozenset({"task", "metric", "model", "optimizer"})  # options whose value is a name
_OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*[a-z])(?: (?P<value>[^\s()]*[^\s().,;:]))?")
_KEYS = re.compile(r"--split (time|group) --\1 (\S+)")  # the value is the name of a column


def in_python(text: str) -> str:
    """Write the command-line options in a message as Python arguments.

    A message with a whole command does not change.

    >>> in_python("--read zip=number changes it")
    'read="zip=number" changes it'
    >>> in_python("name it with --seed-column, or compare all runs (--unpaired)")
    'name it with seed_column, or compare all runs (paired=False)'
    >>> in_python("use --seeds 5 and --no-stream"), in_python("--metric error compares errors")
    ('use seeds=5 and stream=False', 'metric="error" compares errors')
    """
    if "dropkit compare " in text or "dropkit inspect " in text:
        return text
    text = _KEYS.sub(r'split="\1", \1="\2"', text)
    return _OPTION.sub(_replace, text)


def _replace(found: re.Match[str]) -> str:
    name, value = found["name"], found["value"]
    if name == "data-dir":  # messages about it name both forms
        return found[0]
    rest = "" if value is None else f" {value}"
    if name in _NEGATIVE or name.startswith("no-"):
        return f"{_NEGATIVE.get(name) or _identify(name.removeprefix('no-'))}=False{rest}"
    if name in _FLAGS:
        return f"{_identify(name)}=True{rest}"
    if value is None or not (name in _NAMED or re.search(r"[\d=.]", value)):
        return f"{_identify(name)}{rest}"
    return f"{_identify(name)}={value}" if value.isdecimal() else f'{_identify(name)}="{value}"'


def _identify(name: str) -> str:
    return name.replace("-", "_")


@contextmanager
def raise_in_python_words() -> Iterator[None]:
    """Reword the options in the messages of errors; decorates a function that Python code calls."""
    try:
        yield
    except StudyError as error:
        error.args = (in_python(str(error)),)
        raise

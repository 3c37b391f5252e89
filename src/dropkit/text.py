"""Suggest the nearest known name, and make text safe to print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint with the choice most similar to ``word``, or with all choices.

    >>> nearest("drpout", ["dropout", "l1"])
    "did you mean 'dropout'?"
    >>> nearest("xyz", ["dropout", "l1"])
    'choose from dropout, l1'
    """
    known = [str(choice) for choice in choices]
    lowered = {choice.lower(): choice for choice in known}
    matches = get_close_matches(word.lower(), lowered, n=1)
    if matches:
        return f"did you mean {lowered[matches[0]]!r}?"
    shown = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return f"choose from {shown}"


def printable(text: str) -> str:
    """Escape control characters, so that they cannot affect a terminal.

    Escape the C0 and C1 control characters except tab and line feed, and the characters that change
    the text direction.

    >>> printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)

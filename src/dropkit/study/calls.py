"""Parse settings that name a function of torch, such as ``adamw(weight_decay=0.01)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

from dropkit.errors import StudyError
from dropkit.text import nearest

_CALL = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def read_call(setting: str, text: str) -> tuple[str, str]:
    """Split ``name(arguments)`` into the name in lower case and the arguments.

    >>> read_call("optimizer", "AdamW(eps=1e-7)")
    ('adamw', 'eps=1e-7')
    """
    match = _CALL.fullmatch(text)
    if match is None:
        raise StudyError(f"{setting} must be NAME or NAME(argument=value, ...), got {text!r}")
    return match[1].lower(), match[2] or ""


def read_arguments(setting: str, name: str, inside: str, known: Iterable[str]) -> dict[str, Any]:
    """Parse ``argument=value, ...``; values are numbers, booleans, tuples or strings.

    Raises:
        StudyError: the text has another form, or an argument is unknown.

    >>> read_arguments("optimizer", "adamw", "eps=1e-7, betas=(0.9, 0.98)", ["eps", "betas"])
    {'eps': 1e-07, 'betas': (0.9, 0.98)}
    """
    try:
        call = ast.parse(f"f({inside})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or call.func.__class__ is not ast.Name:
            raise ValueError
        given = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError):
        raise StudyError(
            f"{setting} {name}({inside}): write its arguments as argument=value, with numbers, "
            "True, False or tuples as values"
        ) from None
    known = list(known)
    for argument in given:
        if argument not in known:
            hint = nearest(argument, known) if known else f"{name} takes no arguments"
            raise StudyError(f"{setting} {name} has no argument {argument!r}: {hint}")
    return given

"""Break the name of a method into lines: before ``+`` and ``(``, after a comma."""

from __future__ import annotations

import re

from dropkit.text import printable

_BREAK = re.compile(r"(?<=.)(?=[+(])|(?<=,)")


def split_name(name: str) -> list[str]:
    """Split a name into parts that must not be broken.

    >>> split_name("dropout(p=0.3,input=0.1)+max-norm")
    ['dropout', '(p=0.3,', 'input=0.1)', '+max-norm']
    """
    return [piece for piece in _BREAK.split(name) if piece]


def wrap_name(name: str, width: int) -> str:
    """Break a name into lines of at most ``width`` characters; cut a part that is longer.

    Control characters are escaped.

    >>> print(wrap_name("l1+dropout(p=0.3,input=0.1)+max-norm", 16))
    l1
    +dropout(p=0.3,
    input=0.1)
    +max-norm
    """
    lines = [""]
    for term in re.split(r"(?<=.)(?=[+])", printable(name)):
        if len(lines[-1] + term) <= width:
            lines[-1] += term
        else:
            lines += _pack(split_name(term), width)
            if len(term) > width:
                lines.append("")  # start a new line after a term that was broken
    return "\n".join(filter(None, lines))


def _pack(parts: list[str], width: int) -> list[str]:
    lines = [""]
    for part in parts:
        if len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
        while len(lines[-1]) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines

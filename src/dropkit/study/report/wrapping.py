"""Break a method's name where a reader would: before ``+`` and ``(``, after a comma."""

from __future__ import annotations

import re

from dropkit.text import printable

_BREAK = re.compile(r"(?<=.)(?=[+(])|(?<=,)")


def split_name(name: str) -> list[str]:
    """The parts of a name that belong on one line.

    >>> split_name("dropout(p=0.3,input=0.1)+max-norm")
    ['dropout', '(p=0.3,', 'input=0.1)', '+max-norm']
    """
    return [piece for piece in _BREAK.split(name) if piece]


def wrap_name(name: str, width: int) -> str:
    """The name in lines of at most ``width`` characters; what fits nowhere is cut.

    Control characters are spelled out.

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
                lines.append("")  # nothing joins a term that was broken
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

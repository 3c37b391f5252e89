"""Show the examples and tables of docstrings verbatim in the documentation."""

import re
from typing import Any

import griffe

# A doctest, up to the empty line after its output; or a table between lines of equals signs.
_BLOCK = re.compile(
    r"^(?:>>> .*(?:\n.+)*|(?:=+ +)+=+\n(?:.*\n)*?(?:=+ +)+=+\n(?:.*\n)*?(?:=+ +)+=+)", re.M
)


class Verbatim(griffe.Extension):
    """Put code fences around doctests and plain-text tables, so that Markdown keeps their lines."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = _BLOCK.sub(_fenced, obj.docstring.value)


def _fenced(block: re.Match[str]) -> str:
    language = "python" if block[0].startswith(">>>") else "text"
    return f"```{language}\n{block[0]}\n```"

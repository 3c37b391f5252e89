"""Build one HTML file from template, style, scripts and recorded runs."""

from __future__ import annotations

import base64
import json
import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment

from dropkit.files import write_atomic

SCRIPTS = (
    "random.js",
    "chart.js",
    "thinning.js",
    "scaling.js",
    "curves.js",
    "net.js",
    "training.js",
)


def page() -> str:
    """Return the page as HTML that contains style, scripts, pictures and numbers.

    >>> page().startswith("<!doctype html>")
    True
    """
    here = files(__name__.rpartition(".")[0])
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_text(here / "page.html.j2"))
    curves, features = (
        json.loads(_text(here / "recorded" / f"{name}.json")) for name in ("figure-4", "figure-7")
    )
    return template.render(
        style=_text(here / "style.css"),
        script="\n".join(_text(here / name) for name in SCRIPTS),
        curves=curves,
        training_error=lambda training: fmean(
            row["training error %"] for row in curves["rows"] if row["training"] == training
        ),
        curves_json=_inside_script(curves["curves"]),
        features=features,
        pictures={
            row["network"]: _picture(
                here / "recorded" / f"figure-7-{row['network'].split()[0]}.png"
            )
            for row in features["rows"]
        },
    )


def write(path: str | os.PathLike[str]) -> Path:
    """Write the page to a file, and return its path.

    Args:
        path: the file to write, or a folder for ``dropout.html``.
    """
    target = Path(path)
    target = target / "dropout.html" if target.is_dir() else target
    write_atomic(target, page())
    return target


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")


def _picture(file: Traversable) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode("ascii")


def _inside_script(value: Any) -> str:
    """Return JSON that cannot end the surrounding script element."""
    return json.dumps(value).replace("<", "\\u003c")

"""Fail the build of the documentation if a public name has no page."""

import importlib
import pkgutil
import zlib
from pathlib import Path
from typing import Any

import dropkit

PROGRAMS = {"dropkit.__main__", "dropkit.cli"}  # documented by --help


def public_names() -> set[str]:
    """Return the full names of everything in the ``__all__`` of public modules."""
    walked = pkgutil.walk_packages(dropkit.__path__, "dropkit.")
    modules = ["dropkit", *(m.name for m in walked if not _private(m.name))]
    return {
        f"{name}.{public}"
        for name in modules
        for public in getattr(importlib.import_module(name), "__all__", ())
    }


def _private(name: str) -> bool:
    return name in PROGRAMS or any(part.startswith("_") for part in name.split("."))


def documented_names(inventory: Path) -> set[str]:
    """Return the names that a built site documents, from its file ``objects.inv``."""
    head, _, packed = inventory.read_bytes().partition(b"zlib.\n")
    assert head, inventory
    return {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}


def has_page(name: str, documented: set[str]) -> bool:
    """Return whether the object is documented under this name or under its original name."""
    module, _, short = name.rpartition(".")
    found = getattr(importlib.import_module(module), short)
    origin = f"{getattr(found, '__module__', module)}.{getattr(found, '__qualname__', short)}"
    return bool({name, origin} & documented)


def on_post_build(config: Any) -> None:
    """Compare the public names with the documented names after a build of the site."""
    documented = documented_names(Path(config["site_dir"]) / "objects.inv")
    missing = sorted(name for name in public_names() if not has_page(name, documented))
    if missing:
        raise SystemExit(f"public names without a page in the documentation: {', '.join(missing)}")

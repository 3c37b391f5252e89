"""Names of a package that are imported at their first use, for a start that need not wait."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load_name(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """Return what a package's ``__getattr__`` is asked for, and keep it in the package.

    Args:
        package: the package's full name.
        name: the attribute that it lacks.
        homes: the module of each name that it exports.

    Raises:
        AttributeError: the package exports no such name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    found = getattr(import_module(homes[name]), name)
    setattr(sys.modules[package], name, found)  # the next use does not come here
    return found

"""Import the names of a package at first use, so that the package imports fast."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load_name(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """Import a name for a package's ``__getattr__``, and store it in the package.

    Args:
        package: the package's full name.
        name: the missing attribute.
        homes: the module of each exported name.

    Raises:
        AttributeError: the package does not export the name.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    found = getattr(import_module(homes[name]), name)
    setattr(sys.modules[package], name, found)  # so that __getattr__ is not called again
    return found

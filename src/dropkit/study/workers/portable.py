"""Serialize a user's function so that other machines can call it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from dropkit.study.workers.cluster import import_ray
from dropkit.user_code import load_function

Function = TypeVar("Function", bound=Callable[..., Any])


def portable(model: str | Function) -> str | Function:
    """Convert ``file.py:function`` to a function that machines without the file can call.

    Modules and packages beside the file are included.
    """
    if not isinstance(model, str) or ":" not in model:
        return model
    function = load_function(model)
    folder = Path(model.rpartition(":")[0]).resolve().parent
    for name, module in list(sys.modules.items()):
        top = sys.modules.get(name.partition(".")[0])
        file = getattr(top, "__file__", None)
        if file and Path(file).resolve().parent in (folder, folder / name.partition(".")[0]):
            import_ray().cloudpickle.register_pickle_by_value(module)
    return cast(Function, function)

"""A user's model as other machines can build it."""

from __future__ import annotations

import sys
from pathlib import Path

from dropkit.study.training.models import Factory
from dropkit.study.workers.cluster import import_ray
from dropkit.user_code import load_function


def portable(model: str | Factory) -> str | Factory:
    """The model as machines without its file can build it: ``file.py:function`` becomes a function.

    Modules and packages beside the file travel with it.
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
    return function

"""Load a loss by name: a loss of torch, or a function in the user's own file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from dropkit.errors import StudyError
from dropkit.study.calls import read_arguments, read_call
from dropkit.study.tasks import TASKS
from dropkit.text import nearest
from dropkit.user_code import call_function, load_function

LOSSES = {
    "class": ("cross_entropy", "multi_margin_loss"),
    "labels": ("binary_cross_entropy_with_logits",),
    "numbers": ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"),
}
"""For each kind of prediction, the losses of ``torch.nn.functional`` that fit a study."""

# Class weights come from the class_weights setting, and the reduction is always the mean.
_SET_ELSEWHERE = {"input", "target", "weight", "pos_weight"}
_SET_ELSEWHERE |= {"size_average", "reduce", "reduction"}


def load_loss(text: str, task: str) -> Callable[..., Any]:
    """Return a loss function of outputs and targets.

    For classes and labels, the function also takes a ``weight``.

    Args:
        text: such as ``smooth-l1`` or ``cross-entropy(label_smoothing=0.1)``, or
            ``file.py:function``.
        task: one of `dropkit.study.tasks.TASKS`.

    Raises:
        StudyError: the task has no such loss, or an argument, file or function does not exist.

    >>> import torch
    >>> load_loss("huber(delta=0.5)", "regression")(torch.zeros(2), torch.ones(2))
    tensor(0.3750)
    """
    import torch.nn.functional as F

    if ":" in text:
        return partial(call_function, load_function(text), what="loss")
    name, inside = read_call("loss", text)
    known = {_short(each): each for each in LOSSES[TASKS[task].predicts]}
    if _short(name) not in known:
        others = [_short(each) for kind in LOSSES.values() for each in kind]
        if _short(name) in others:
            what = TASKS[task].title
            raise StudyError(f"loss {name} is not for {what}; use {' or '.join(known)}")
        raise StudyError(f"no loss is called {name!r}: {nearest(_short(name), known)}")
    function = getattr(F, known[_short(name)])
    allowed = [a for a in inspect.signature(function).parameters if a not in _SET_ELSEWHERE]
    return partial(function, **read_arguments("loss", name, inside, allowed))


def _short(name: str) -> str:
    return name.replace("_", "-").removesuffix("-loss")

"""Parse the optimizer setting, and define the learning-rate schedules."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

from dropkit.errors import StudyError
from dropkit.study.calls import read_arguments, read_call
from dropkit.text import nearest

LR_SGD, LR_OTHER = 0.05, 0.001
"""The default learning rates of the baseline: with sgd, and with any other optimizer."""

MOMENTUM_SGD = 0.9
"""The default momentum of sgd."""

_SET_ELSEWHERE = {"params", "lr", "foreach", "fused", "capturable", "differentiable", "maximize"}
_UNFIT = {
    "lbfgs": "needs the loss several times per update",
    "sparseadam": "needs sparse gradients",
}


def parse_optimizer(text: str) -> tuple[str, dict[str, Any]]:
    """Parse the name of an optimizer of ``torch.optim`` with its arguments.

    All arguments of the class are allowed, except the learning rate and options that only affect
    speed. The default weight decay is 0 for every optimizer, so that ``none`` has no regularizer.

    Raises:
        StudyError: the optimizer or an argument does not exist.

    >>> parse_optimizer("adamw(weight_decay=0.01, betas=(0.9, 0.98))")
    ('adamw', {'weight_decay': 0.01, 'betas': (0.9, 0.98)})
    """
    known = optimizers()
    name, inside = read_call("optimizer", text)
    if name in _UNFIT:
        raise StudyError(f"optimizer {name} {_UNFIT[name]}; use one of {', '.join(known)}")
    if name not in known:
        raise StudyError(f"torch.optim has no optimizer {name!r}: {nearest(name, known)}")
    allowed = [a for a in inspect.signature(known[name]).parameters if a not in _SET_ELSEWHERE]
    if re.search(r"\blr\s*=", inside):
        raise StudyError(f"optimizer {name}: give the learning rate with --lr")
    arguments = read_arguments("optimizer", name, inside, allowed)
    if arguments:
        usual = {"momentum": MOMENTUM_SGD} if name == "sgd" else {}
        _try(name, known[name], usual | arguments)
    return name, arguments


SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda done: max(0.0, 1.0 - done),
    "cosine": lambda done: (1.0 + math.cos(math.pi * min(done, 1.0))) / 2,
    "constant": lambda done: 1.0,
    "one-cycle": lambda done: _one_cycle(done),
}
"""The schedules by name: each maps the finished share of training to a factor of the peak rate."""


def _one_cycle(done: float) -> float:
    """Rise from 1/25 in the first 30 %, then fall to 0, each along half a cosine (Smith 2018)."""
    rising = 0.3
    if done < rising:
        low = 1 / 25
        return low + (1 - low) * (1 - math.cos(math.pi * done / rising)) / 2
    return (1 + math.cos(math.pi * min(1.0, (done - rising) / (1 - rising)))) / 2


def optimizers() -> dict[str, Any]:
    """Return the optimizers of ``torch.optim`` that fit a study, by lower-case name."""
    import torch

    made = {name: getattr(torch.optim, name) for name in dir(torch.optim)}
    return {
        name.lower(): kind
        for name, kind in sorted(made.items())
        if isinstance(kind, type)
        and issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
        and name.lower() not in _UNFIT
    }


def _try(name: str, kind: Any, arguments: dict[str, Any]) -> None:
    """Create the optimizer once, so that torch checks the values of its arguments."""
    import torch

    try:
        kind([torch.nn.Parameter(torch.zeros(1))], lr=0.1, **arguments)
    except (TypeError, ValueError) as error:
        raise StudyError(f"optimizer {name} refuses its arguments: {error}") from error

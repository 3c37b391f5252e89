"""Schedules: pure functions from the training step to a rate.

Every function checks its arguments and returns a `Schedule`, which can be called, compared, pickled
and printed. A schedule does not depend on models or optimizers: the training loop calls the
schedule for each step and sets the returned value.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import SupportsFloat

from dropkit._checks import check_positive, check_probability

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "early",
    "inverse_time_decay",
    "late",
    "linear",
    "momentum_ramp",
]


@dataclass(frozen=True, repr=False)
class Schedule:
    """A function from the step to a value. Create schedules with functions such as `linear`.

    Args:
        formula: the name of a schedule function of this module. It is a name, not the function
            itself, because ``torch.load`` refuses functions by default. So a checkpoint that
            contains the schedule, for example in a scheduler's ``state_dict``, holds no function.
        arguments: the arguments of the formula, as (name, value) pairs.

    The step is the number of updates so far, starting at 0. It may be a fraction, so you can also
    count in epochs.

    Raises:
        ValueError: if the formula is unknown; at the call, if the step is negative or NaN.

    >>> rate = linear(0.5, 0.0, steps=1000)
    >>> rate
    linear(start=0.5, end=0.0, steps=1000)
    >>> rate(0), rate(500), rate(5000)
    (0.5, 0.25, 0.0)
    """

    formula: str
    arguments: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if self.formula not in _FORMULAS:
            raise ValueError(f"formula must be one of {', '.join(_FORMULAS)}, got {self.formula!r}")

    def __call__(self, step: float) -> float:
        if not step >= 0:
            raise ValueError(
                f"step must be 0 or more, got {step}; a step is the number of updates so far"
            )
        return _FORMULAS[self.formula](step, **dict(self.arguments))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.arguments)
        return f"{self.formula}({shown})"


def _schedule(formula: str, **arguments: float) -> Schedule:
    return Schedule(formula, tuple(arguments.items()))


def constant(p: float) -> Schedule:
    """Keep the same rate at every step.

    ``p(t) = p``

    Args:
        p: the probability of dropping.

    Raises:
        ValueError: if p lies outside [0, 1].

    >>> constant(0.5)(123)
    0.5
    """
    return _schedule("constant", p=check_probability(p))


def linear(start: float, end: float, steps: float) -> Schedule:
    """Go from ``start`` to ``end`` linearly, then stay at ``end``.

    ``p(t) = start + (end - start) · min(t / steps, 1)``

    Args:
        start: the probability of dropping at step 0.
        end: the probability from step ``steps`` on.
        steps: the number of steps from start to end, above 0.

    Raises:
        ValueError: if a rate lies outside [0, 1] or ``steps`` is not above 0.

    Reference: Rennie, Goel and Thomas (2014), "Annealed dropout training of deep networks", who
    decrease the rate to 0.

    >>> linear(0.0, 0.5, steps=10)(5)
    0.25
    """
    return _way("linear", start, end, steps)


def cosine(start: float, end: float, steps: float) -> Schedule:
    """Go from ``start`` to ``end`` along half a cosine, then stay at ``end``.

    ``p(t) = end + (start - end) · (1 + cos(π · min(t / steps, 1))) / 2``

    The rate changes slowly near ``start`` and ``end``, and fastest half-way.

    Args:
        start: the probability of dropping at step 0.
        end: the probability from step ``steps`` on.
        steps: the number of steps from start to end, above 0.

    Raises:
        ValueError: if a rate lies outside [0, 1] or ``steps`` is not above 0.

    Reference: Loshchilov and Hutter (2017), "SGDR", who use this schedule for learning rates. Here
    the schedule has one period and no restart.

    >>> rate = cosine(0.5, 0.0, steps=100)
    >>> rate(0), round(rate(50), 12), rate(100)
    (0.5, 0.25, 0.0)
    """
    return _way("cosine", start, end, steps)


def early(p: float, until: float) -> Schedule:
    """Use dropout only in the first steps.

    ``p(t) = p if t < until else 0``

    Args:
        p: the probability of dropping before step ``until``.
        until: the first step without dropout, 0 or more.

    Raises:
        ValueError: if p lies outside [0, 1] or ``until`` is negative.

    Reference: Liu, Xu, Jin, Shen and Darrell (2023), "Dropout reduces underfitting".

    >>> rate = early(0.1, until=1000)
    >>> rate(999), rate(1000)
    (0.1, 0.0)
    """
    return _schedule("early", p=check_probability(p), until=_check_step(until, "until"))


def late(p: float, start: float) -> Schedule:
    """Use dropout only from step ``start`` on.

    ``p(t) = p if t >= start else 0``

    Args:
        p: the probability of dropping from step ``start`` on.
        start: the first step with dropout, 0 or more.

    Raises:
        ValueError: if p lies outside [0, 1] or ``start`` is negative.

    Reference: Liu, Xu, Jin, Shen and Darrell (2023), "Dropout reduces underfitting".

    >>> rate = late(0.5, start=1000)
    >>> rate(999), rate(1000)
    (0.0, 0.5)
    """
    return _schedule("late", p=check_probability(p), start=_check_step(start, "start"))


def inverse_time_decay(initial: float, tau: float) -> Schedule:
    """Decrease a learning rate in proportion to 1/(1 + t/tau).

    ``ε(t) = initial / (1 + t / tau)``

    Args:
        initial: the learning rate at step 0, above 0.
        tau: the number of steps until the learning rate has halved, above 0.

    Raises:
        ValueError: if an argument is not a finite number above 0.

    Reference: used with dropout in Srivastava et al. (2014), with tau = 10,000.

    >>> inverse_time_decay(1.0, tau=10_000)(10_000)
    0.5
    """
    return _schedule(
        "inverse_time_decay",
        initial=check_positive(_number(initial, "initial"), "initial"),
        tau=check_positive(_number(tau, "tau"), "tau"),
    )


def momentum_ramp(initial: float, final: float, tau: float) -> Schedule:
    """Increase a momentum exponentially towards ``final``.

    ``m(t) = final - (final - initial) · exp(-t / tau)``

    Args:
        initial: the momentum at step 0, in [0, 1).
        final: the momentum for large t, in [0, 1).
        tau: the number of steps until 63 % of the change is done, above 0.

    Raises:
        ValueError: if a momentum lies outside [0, 1) or ``tau`` is not above 0.

    Reference: used with dropout in Srivastava et al. (2014), from 0.5 to 0.99 with tau = 100,000.

    >>> momentum = momentum_ramp(0.5, 0.99, tau=100_000)
    >>> momentum(0), round(momentum(100_000), 4)
    (0.5, 0.8097)
    """
    for value, name in ((initial, "initial"), (final, "final")):
        if not 0.0 <= _number(value, name) < 1.0:
            raise ValueError(f"{name} must lie in [0, 1), got {value}; it is a momentum")
    return _schedule(
        "momentum_ramp",
        initial=float(initial),
        final=float(final),
        tau=check_positive(_number(tau, "tau"), "tau"),
    )


def _way(formula: str, start: float, end: float, steps: float) -> Schedule:
    check_positive(_number(steps, "steps"), "steps")
    return _schedule(
        formula,
        start=check_probability(start, "start"),
        end=check_probability(end, "end"),
        steps=_number(steps, "steps"),
    )


def _check_step(value: float, name: str) -> float:
    if not _number(value, name) >= 0:
        raise ValueError(f"{name} must be 0 or more, got {value}; it counts steps")
    return _number(value, name)


def _number(value: float, name: str) -> float:
    """Convert to a Python number, because torch can load it with the state of a scheduler."""
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value if isinstance(value, int) else float(value)


def _constant(step: float, *, p: float) -> float:
    return p


def _linear(step: float, *, start: float, end: float, steps: float) -> float:
    # A weighted sum of both ends is exact at the ends, and rounding cannot move it out of [0, 1].
    done = min(step / steps, 1.0)
    return (1.0 - done) * start + done * end


def _cosine(step: float, *, start: float, end: float, steps: float) -> float:
    left = (1.0 + math.cos(math.pi * min(step / steps, 1.0))) / 2.0
    return left * start + (1.0 - left) * end


def _early(step: float, *, p: float, until: float) -> float:
    return p if step < until else 0.0


def _late(step: float, *, p: float, start: float) -> float:
    return p if step >= start else 0.0


def _inverse_time_decay(step: float, *, initial: float, tau: float) -> float:
    return initial / (1.0 + step / tau)


def _momentum_ramp(step: float, *, initial: float, final: float, tau: float) -> float:
    return final - (final - initial) * math.exp(-step / tau)


_FORMULAS: dict[str, Callable[..., float]] = {
    formula.__name__[1:]: formula
    for formula in (
        _constant, _linear, _cosine, _early, _late, _inverse_time_decay, _momentum_ramp,
    )
}  # fmt: skip

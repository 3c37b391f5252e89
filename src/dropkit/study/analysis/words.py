"""How an error, a difference of errors and an interval read, in plain text."""

from __future__ import annotations

import math

from dropkit.study.analysis.stats import Estimate


def name_error(task: str) -> str:
    """What a study calls its error."""
    return "test error" if task == "classification" else "test RMSE"


def format_error(
    value: float, task: str, *, signed: bool = False, within: Estimate | None = None
) -> str:
    """An error in per cent with two decimals, or in the target's units.

    An error in units has as many decimals as two digits of the half-width of ``within`` need, or
    three digits by itself. There are more where ``within`` excludes zero and these would show one.

    >>> format_error(-0.0145, "classification"), format_error(51234.5, "regression")
    ('−1.45', '51234')
    >>> format_error(3.4567, "regression", within=Estimate(3.4567, 3.4355, 3.4779, 5))
    '3.457'
    """
    if task == "classification":
        text = f"{100 * abs(value):.{_apart_from_zero(2, within, 100)}f}"
    else:
        decimals = _decimals(value, within)
        text = f"{abs(value):.3g}" if decimals > 6 else f"{abs(value):.{decimals}f}"
    if float(text) == 0.0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def _apart_from_zero(decimals: int, within: Estimate | None, scale: float = 1.0) -> int:
    """So many decimals, or as many as show that an interval excludes zero."""
    if within is None or within.low is None or within.high is None or not within.excludes_zero:
        return decimals
    least = scale * min(abs(within.low), abs(within.high))
    return next((n for n in range(decimals, decimals + 6) if round(least, n) > 0), decimals + 6)


def format_p(p: float) -> str:
    """A p-value with three decimals, or as many as keep it on its side of 0.05.

    >>> format_p(0.2), format_p(0.00001), format_p(0.04996)
    ('0.200', '<0.001', '0.04996')
    """
    if p < 0.001:
        return "<0.001"
    return f"{p:.{next((n for n in range(3, 8) if p == 0.05 or round(p, n) != 0.05), 8)}f}"


def _decimals(value: float, within: Estimate | None) -> int:
    size, digits = abs(value), 3
    if within is not None and within.half is not None:
        size, digits = within.half, 2
    decimals = 2 if size == 0 else max(0, digits - 1 - math.floor(math.log10(size)))
    return _apart_from_zero(decimals, within)


def format_difference(estimate: Estimate, task: str, *, signed: bool = False) -> str:
    """A difference of errors: as `format_error` writes it, in points where errors are in per cent.

    >>> format_difference(Estimate(0.008, None, None, 1), "classification", signed=True)
    '+0.80 points'
    """
    text = format_error(estimate.mean, task, signed=signed, within=estimate)
    return text + (" points" if task == "classification" else "")


def format_interval(estimate: Estimate, task: str) -> str:
    """An interval in brackets.

    >>> format_interval(Estimate(0.01, 0.0, 0.02, 5), "classification")
    '[0.00, 2.00]'
    """
    if estimate.low is None or estimate.high is None:
        return "[no interval]"
    low, high = (format_error(end, task, within=estimate) for end in (estimate.low, estimate.high))
    return f"[{low}, {high}]"

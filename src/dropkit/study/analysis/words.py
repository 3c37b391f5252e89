"""Format values, differences and intervals as plain text."""

from __future__ import annotations

import math

from dropkit.study.analysis.stats import Estimate
from dropkit.study.python_words import in_python
from dropkit.study.record import Measure, Record
from dropkit.study.tasks import find_task

SHARE = Measure("share", "share", percent=True)
"""A measure to format percentages that are not a study's metric."""


def choose_verb(measure: Measure, *, better: bool) -> str:
    """Return ``lowers`` or ``raises``, for a method's effect on the metric."""
    return "lowers" if better != measure.higher_is_better else "raises"


def format_value(
    value: float, measure: Measure, *, signed: bool = False, within: Estimate | None = None
) -> str:
    """Format a value in per cent with two decimals, or in its own units.

    A value in units shows two significant digits of the half-width of ``within``; without
    ``within``, it shows three significant digits. If ``within`` excludes zero, there are enough
    decimals that the bounds of the interval do not round to zero.

    >>> from dropkit.study.record.measure import ERROR, RMSE
    >>> format_value(-0.0145, ERROR), format_value(51234.5, RMSE)
    ('−1.45', '51234')
    >>> format_value(3.4567, RMSE, within=Estimate(3.4567, 3.4355, 3.4779, 5))
    '3.457'
    >>> format_value(2.94e23, RMSE, within=Estimate(2.94e23, 2.62e23, 3.26e23, 5))
    '2.94e+23'
    """
    if measure.percent:
        text = f"{100 * abs(value):.{_apart_from_zero(2, within, 100)}f}"
    else:
        text = _format_number(abs(value), _decimals(value, within))
    if float(text) == 0.0:
        return text
    return f"{'−' if value < 0 else '+' if signed else ''}{text}"


def _apart_from_zero(decimals: int, within: Estimate | None, scale: float = 1.0) -> int:
    """Return ``decimals``, or as many as needed to show that an interval excludes zero."""
    if within is None or within.low is None or within.high is None or not within.excludes_zero:
        return decimals
    least = scale * min(abs(within.low), abs(within.high))
    return next((n for n in range(decimals, decimals + 6) if round(least, n) > 0), decimals + 6)


def name_method(record: Record, method: str) -> str:
    """Return a method's name for tables and figures; ``none`` is called *baseline*."""
    if method != record.baseline:
        return method
    return "baseline" if method in ("none", "baseline") else f"{method} (baseline)"


def name_in_sentence(record: Record, method: str) -> str:
    """Return a method's name for a sentence."""
    return "the baseline" if method == record.baseline else method


def count_repetitions(record: Record, runs: int | None = None) -> str:
    """Write the number of seeds or, with folds, of repetitions in words."""
    runs = len(record.of(record.baseline)) if runs is None else runs
    if record.folds is None:
        return f"{runs} seed{'s' if runs != 1 else ''}"
    whole = math.ceil(runs / record.folds)
    return f"{whole} repetition{'s' if whole != 1 else ''} of {record.folds} folds"


def name_repetitions(record: Record) -> str:
    """Return ``seeds`` or, with folds, ``repetitions``."""
    return "seeds" if record.folds is None else "repetitions"


def word_for(record: Record, text: str) -> str:
    """Write options in a sentence as the caller knows them: of a command, or of Python."""
    return text if is_from_command(record) else in_python(text)


def is_from_command(record: Record) -> bool:
    """Return whether a command ran the study, and not Python code."""
    return record.command.startswith("dropkit ")


def name_choices(record: Record, *, has_rows: bool) -> str:
    """Return the random choices that an interval accounts for, such as ``seeds and test rows``."""
    if record.overlap:
        return "seeds, training rows and test rows"
    return "seeds and test rows" if has_rows else "seeds"


def format_amount(value: float, measure: Measure) -> str:
    """Format a value, with a percent sign if the measure is a fraction.

    >>> format_amount(0.035, SHARE)
    '3.50 %'
    """
    return format_value(value, measure) + (" %" if measure.percent else "")


def name_constant(task: str) -> str:
    """Name the best constant prediction, with its article."""
    return find_task(task).constant


def format_p(p: float) -> str:
    """Format a p-value with three decimals, or enough to show on which side of 0.05 it is.

    >>> format_p(0.2), format_p(0.00001), format_p(0.04996)
    ('0.200', '<0.001', '0.04996')
    """
    if p < 0.001:
        return "<0.001"
    return f"{p:.{next((n for n in range(3, 8) if p == 0.05 or round(p, n) != 0.05), 8)}f}"


def state_p(p: float) -> str:
    """State a p-value in a sentence.

    >>> state_p(0.2), state_p(0.00001)
    ('p = 0.200', 'p < 0.001')
    """
    text = format_p(p)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def _decimals(value: float, within: Estimate | None) -> int:
    size, digits = abs(value), 3
    if within is not None and within.half is not None:
        size, digits = within.half, 2
    decimals = 2 if size == 0 else digits - 1 - math.floor(math.log10(size))
    return decimals if decimals < -6 else _apart_from_zero(max(0, decimals), within)


def _format_number(size: float, decimals: int) -> str:
    """Format a positive number; use powers of ten if it would have many zeros."""
    if decimals > 6:
        return f"{size:.3g}"
    if decimals >= 0:
        return f"{size:.{decimals}f}"
    digits = decimals + 1 + math.floor(math.log10(size)) if size else 1
    return f"{size:.{max(0, digits - 1)}e}"


def format_difference(estimate: Estimate, measure: Measure, *, signed: bool = False) -> str:
    """Format a difference like `format_value`; differences of percentages are in points.

    >>> from dropkit.study.record.measure import ERROR
    >>> format_difference(Estimate(0.008, None, None, 1), ERROR, signed=True)
    '+0.80 points'
    """
    text = format_value(estimate.mean, measure, signed=signed, within=estimate)
    return text + (" points" if measure.percent else "")


def format_interval(estimate: Estimate, measure: Measure) -> str:
    """Format an interval in brackets.

    >>> from dropkit.study.record.measure import ERROR
    >>> format_interval(Estimate(0.01, 0.0, 0.02, 5), ERROR)
    '[0.00, 2.00]'
    """
    if estimate.low is None or estimate.high is None:
        return "[no interval]"
    low, high = (
        format_value(end, measure, within=estimate) for end in (estimate.low, estimate.high)
    )
    return f"[{low}, {high}]"

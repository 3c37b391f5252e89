"""Check that dropout is in a place where it works as intended."""

import math
from collections.abc import Iterator, Sequence
from statistics import mean, stdev

from dropkit._doctor.finding import Finding
from dropkit._doctor.watch import Run

_SHIFT = 1.1  # accepted ratio of the variances with and without dropout
_Z = 4.0  # standard errors by which the ratio must exceed _SHIFT


def check_placement(run: Run) -> Iterator[Finding]:
    """Find dropout on the output, and units that are dropped twice, in a run in training mode."""
    if run.last is not None:
        yield Finding(
            "on-output",
            run.last,
            "warning",
            "its output is the model's output: no layer after it mixes units",
            "move it before the last layer, so that the loss gets complete predictions",
        )
    for later, earlier in dict.fromkeys(run.doubled):
        yield Finding(
            "doubled",
            later,
            "warning",
            f"drops units that {earlier or 'the model'!r} has already dropped: no layer between "
            "mixes units",
            "keep one of them; rates p and q combine to 1 − (1 − p)(1 − q)",
        )


def check_batch_norm(without: Run, runs: Sequence[Run]) -> Iterator[Finding]:
    """Find batch normalizations whose input has a different variance with dropout than without.

    Args:
        without: a run in evaluation.
        runs: runs in evaluation with dropout on.
    """
    for call, base in enumerate(without.norms):
        inputs = [run.norms[call] for run in runs if len(run.norms) == len(without.norms)]
        dropout = inputs[0].dropout if inputs else None
        if dropout is None or len(inputs) < 2 or not base.variance > 0:
            continue
        ratios = [found.variance / base.variance for found in inputs]
        ratio, error = mean(ratios), stdev(ratios) / math.sqrt(len(ratios))
        if not (ratio - _Z * error > _SHIFT or ratio + _Z * error < 1 / _SHIFT):
            continue
        yield Finding(
            "before-batch-norm",
            base.module,
            "warning",
            f"with dropout ({dropout or 'the model'}) the variance of its input is {ratio:.2f} ± "
            f"{error:.2f} times that in evaluation, where it normalizes by the variance in "
            "training",
            "move the dropout after the last batch normalization, or lower its rate",
        )

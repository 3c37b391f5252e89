"""Find the methods whose validation loss was still falling when training ended."""

from __future__ import annotations

from dropkit.study.record import Record, Run

FEWEST = 5
"""The fewest losses of a run that show whether the loss was still falling."""


def find_falling(record: Record) -> tuple[str, ...]:
    """Return the methods that more epochs may improve, in the order of the study.

    In most runs of such a method, the last validation loss is the lowest, and it is 1 % lower than
    a fifth of the epochs before. Methods with early stopping decide themselves when to end.
    """
    return tuple(
        method
        for method in record.methods
        if "early-stopping" not in method
        and sum(map(_falls, record.of(method))) > len(record.of(method)) / 2
    )


def can_search_epochs(record: Record) -> bool:
    """Return whether ``until_converged`` can find how many epochs are enough."""
    return record.study.get("until_converged") is False


def _falls(run: Run) -> bool:
    losses = [loss for loss in run.curve.val_loss if loss is not None]
    if len(losses) < FEWEST or losses[-1] > min(losses):
        return False
    return losses[-1] < 0.99 * losses[-max(2, len(losses) // 5)]

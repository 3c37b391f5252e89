"""Call a user's training function with seeded generators, and shorten its errors to one line."""

from __future__ import annotations

import contextlib
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dropkit.errors import OUT_OF_MEMORY, StudyError, first_line, is_out_of_memory
from dropkit.study.training.outcome import Outcome
from dropkit.study.training.start_state import kept_generators, seed_generators
from dropkit.study.training.training_run import TrainingRun

Function = Callable[[TrainingRun], Outcome]


def run_once(
    train: Function,
    *,
    seed: int = 0,
    method: str = "as-is",
    hyperparameters: Mapping[str, float] | None = None,
) -> Outcome:
    """Call a training function once, without a study.

    Args:
        train: the training function, as for `compare_training`.
        seed: the random seed, as in a study.
        method: the method to apply; by default the training is unchanged.
        hyperparameters: values for `TrainingRun.suggest` and the method's arguments, for example
            from a search.

    Returns:
        The outcome that the function returns.

    >>> train = lambda run: Outcome(metrics={"bleu": 30.0 + run.seed}, higher_is_better=True)
    >>> run_once(train).metrics
    {'bleu': 30.0}
    """
    return call(train, TrainingRun(seed, method, hyperparameters=hyperparameters), plainly=True)


def check_signature(function: Callable[..., Any], name: str) -> None:
    """Raise `StudyError` unless a function can be called with a single `TrainingRun`."""
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        short = name.rpartition(":")[2]
        raise StudyError(
            f"{name} must take one argument, the run of a study, and return a study.Outcome: "
            f"def {short}(run): ...; it takes {inspect.signature(function)}"
        ) from None
    except ValueError:  # the signature is unknown, as for built-in functions
        pass


def call(function: Function, run: TrainingRun, *, plainly: bool = False) -> Outcome:
    """Call a user's function; raise `StudyError` for its errors and invalid results.

    With ``plainly``, errors are raised unchanged and output is printed as usual.
    """
    with kept_generators():
        seed_generators(run.seed)
        if plainly:
            outcome = function(run)
        else:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is only for the verdict
                outcome = _call_watched(function, run)
    if not isinstance(outcome, Outcome):
        given = "nothing" if outcome is None else f"a {type(outcome).__name__}"
        raise StudyError(
            f"the training function returned {given}; end it with return "
            "study.Outcome(predictions, targets)"
        )
    return outcome


def _call_watched(function: Function, run: TrainingRun) -> Any:
    try:
        return function(run)
    except StudyError:
        raise
    except (Exception, SystemExit) as error:
        if is_out_of_memory(error):
            raise StudyError(OUT_OF_MEMORY) from error
        *_, last = traceback.extract_tb(error.__traceback__)
        frames = traceback.extract_tb(error.__traceback__)
        code = getattr(function, "__code__", None)
        mine = [f for f in frames if code and f.filename == code.co_filename] or [last]
        where = f"{Path(mine[-1].filename).name}, line {mine[-1].lineno}"
        raise StudyError(
            f"the training function fails ({where}): {type(error).__name__}: {first_line(error)}"
        ) from error

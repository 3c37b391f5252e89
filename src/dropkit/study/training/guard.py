"""Run a user's code; return expected failures as results, so that other runs can continue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from dropkit.errors import OUT_OF_MEMORY, StudyError, is_out_of_memory
from dropkit.study.training.models import fingerprint
from dropkit.study.training.time_limit import Overrun, limited

Result = TypeVar("Result")
Code = TypeVar("Code", bound="str | Callable[..., Any]")


@dataclass(frozen=True)
class Failed:
    """A run without a result; other runs can continue. ``reason`` is one line."""

    reason: str


def resolve(code: Code) -> Code:
    """Make the path in ``file.py:function`` absolute, because workers may be in another folder."""
    if not isinstance(code, str) or ":" not in code:
        return code
    path, _, name = code.rpartition(":")
    return f"{Path(path).resolve()}:{name}"  # type: ignore[return-value]


def guard(
    do: Callable[[], Result],
    code: str | Callable[..., Any],
    *,
    source: str,
    threads: int,
    time_limit: float | None,
    driver: int,
) -> Result | Failed:
    """Call ``do``; return `Failed` if memory or time run out, or if the user's code fails.

    Args:
        do: the function to call.
        code: the user's function, or the name of a built-in model.
        source: the fingerprint of ``code`` when the study began.
        threads: number of torch's threads.
        time_limit: minutes after which the call is stopped; ``None`` for no limit.
        driver: the id of the process that started the study.
    """
    torch.set_num_threads(threads)
    if isinstance(code, str) and fingerprint(code) != source:
        return Failed(f"{code.rpartition(':')[0]} has changed since the study began")
    try:
        with limited(time_limit, driver):
            return do()
    except Overrun:
        return Failed(f"took longer than the time limit of {time_limit:g} minutes")
    except StudyError as error:
        return Failed(str(error))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return Failed(OUT_OF_MEMORY)

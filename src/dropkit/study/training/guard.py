"""Do work that calls a user's code, and tell the ways it may fail that leave others to go on."""

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
    """A training that gave no result, though others may; one line says why."""

    reason: str


def resolve(code: Code) -> Code:
    """Give ``file.py:function`` its whole path, since workers may be in another folder."""
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
    """Do it; a lack of memory, an overrun and what the user can put right are `Failed`.

    Args:
        do: what is done.
        code: the user's, or the name of a built-in model.
        source: its fingerprint when the study began.
        threads: those of torch.
        time_limit: minutes after which it is given up; ``None`` for no limit.
        driver: the process that the study was started in.
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

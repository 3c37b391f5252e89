"""Processes of this machine that work side by side."""

from __future__ import annotations

import atexit
import gc
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self, TypeVar

import joblib
import torch
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dropkit.errors import StudyError

Item = TypeVar("Item")
Result = TypeVar("Result")

QUIETLY = "import gc; gc.disable(); {}; gc.freeze(); gc.enable(); "
"""Carries out an import that stays; looking through it for garbage takes a quarter of its time."""

SERVE = QUIETLY.format("from {} import serve") + "serve({})"
"""What a new process executes first, to be given a module's name and arguments."""

ATTEMPTS = 3  # of one item, which may end each worker that it is given to

_DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
"""Leaves Ctrl-C to the driver, which handles it for all of its workers."""


class Workers(Protocol):
    """What carries out trainings; a context manager, ready between entry and exit."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def __str__(self) -> str:
        """How many of which kind."""

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield every item with the function's result, in the order in which they end.

        What goes wrong and is mended on the way is told to ``say``, a line each.
        """


class LocalWorkers:
    """Processes of this machine; a single one is this process itself.

    One that is killed from outside takes the others with it. New ones begin what was running
    again, after everything else and by itself: what kills its worker keeps nothing from being done.

    Args:
        count: how many work at a time; ``None`` for as many as the cores allow.
        threads: processor threads of each.

    Raises:
        StudyError: in ``map``, when all else is done, of what was running for the third time when
            a process was killed.

    >>> with LocalWorkers(1) as workers:
    ...     sorted(workers.map(abs, [-2, 3]))
    [(-2, 2), (3, 3)]
    """

    def __init__(self, count: int | None = None, threads: int = 1) -> None:
        self.count = count or max(1, cores() // threads)
        self.threads = threads

    def __str__(self) -> str:
        return str(self.count)

    def __enter__(self) -> Self:
        self._before = torch.get_num_threads()
        return self

    def __exit__(self, *error: object) -> None:
        if self.count > 1 and any(isinstance(each, KeyboardInterrupt) for each in error):
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
        torch.set_num_threads(self._before)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield every item with the function's result, in the order in which they end."""
        # As they start, since a driver may be killed before they have had any work.
        code = _DEAF + SERVE.format(__name__, os.getpid())
        served = {"initializer": exec, "initargs": (code, {})}
        work = joblib.delayed(_numbered)
        left = dict(enumerate(items))
        lost = dict.fromkeys(left, 0)
        given_up: list[str] = []
        while left:
            # What may have ended a worker goes alone, when all others are done.
            now = [each for each in left if not lost[each]] or [min(left, key=lost.__getitem__)]
            with joblib.parallel_config("loky", inner_max_num_threads=self.threads, **served):
                parallel = joblib.Parallel(
                    n_jobs=self.count, batch_size=1, return_as="generator_unordered"
                )
            try:
                for number, result in parallel(work(function, each, left[each]) for each in now):
                    yield left.pop(number), result
            except TerminatedWorkerError:
                begun = [each for each in now if each in left]  # and first, those that were running
                running = begun[: self.count]
                during = " or ".join(str(left[each]) for each in running)
                killed = "a worker process was killed, perhaps for lack of memory or time, during "
                killed += during
                for each in running:
                    lost[each] += 1
                if len(now) > 1 or not running or lost[now[0]] < ATTEMPTS:
                    say(f"{killed}; begun again after the others")
                    continue
                del left[now[0]]
                given_up.append(f"{killed}, as {ATTEMPTS - 1} times before")
                say(given_up[-1])
        if given_up:
            raise StudyError(f"{given_up[0]}{and_more(given_up)}")


def and_more(lost: Sequence[str]) -> str:
    """What to say behind the first of the items that were lost too often."""
    more = f", and {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"{more}; the others are kept: run the same command again to go on"


def cores() -> int:
    """The processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def serve(driver: int) -> None:
    """Be a worker of this driver, and end with it."""
    atexit.register(gc.unfreeze)  # or libraries complain of what is left when the process ends
    end_with(driver)


def _numbered(function: Callable[[Item], Result], number: int, item: Item) -> tuple[int, Result]:
    return number, function(item)


def end_with(driver: int) -> None:
    """End this process when its driver is gone: one that was killed cannot end its workers."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

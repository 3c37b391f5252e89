"""End what takes too long."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dropkit.errors import StudyError

GRACE = 60  # seconds after which a worker that a time limit could not interrupt is ended


class Overrun(BaseException):
    """The time is up. Not an Exception, which code under way might catch."""


@contextmanager
def limited(minutes: float | None, driver: int) -> Iterator[None]:
    """Raise `Overrun` here when the time is up; ``None`` is no limit.

    A worker, any other process than the ``driver``, that is stuck outside of Python, where no
    exception can reach it, is ended.
    """
    if minutes is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise StudyError("a time limit needs the main thread; train there, or with --jobs 2")
    seconds = 60 * minutes
    before = signal.signal(signal.SIGALRM, _overrun)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    worker = os.getpid() != driver
    try:
        with open(os.devnull, "w") as nowhere:
            if worker:
                faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=nowhere)
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if worker:
            faulthandler.cancel_dump_traceback_later()


def _overrun(number: int, frame: object) -> None:
    raise Overrun

"""Stop runs that take too long."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from dropkit.errors import StudyError

GRACE = 60  # seconds after the time limit until a worker that cannot be interrupted is killed


class Overrun(BaseException):
    """The time limit is over. A ``BaseException``, because code often catches ``Exception``."""


@contextmanager
def limited(minutes: float | None, driver: int) -> Iterator[None]:
    """Raise `Overrun` in this thread when the time is over; ``None`` is no limit.

    A process other than the ``driver`` is a worker. It is killed if it is stuck outside of Python,
    where no exception can interrupt it.
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

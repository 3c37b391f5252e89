"""Count the cores of this machine, and start and end worker processes."""

from __future__ import annotations

import os
import threading
import time

QUIETLY = "import gc; gc.disable(); {}; gc.freeze(); gc.enable(); "
"""Code that imports without garbage collection, which would take a quarter of the time."""

SERVE = QUIETLY.format("from {} import serve") + "serve({})"
"""Code that a new process runs at start-up, given a module's name and arguments."""


def count_cores() -> int:
    """Return how many processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def end_with(driver: int) -> None:
    """End this process when the process with id ``driver`` ends, even if that process is killed."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

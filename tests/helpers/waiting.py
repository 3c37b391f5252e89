"""Waiting for what other processes do."""

import time
from collections.abc import Callable

HANGS = 900  # seconds after which something hangs, and is not merely slow on a busy machine


def wait_until(holds: Callable[[], object]) -> None:
    """Return as soon as this holds; fail if it never does."""
    end = time.monotonic() + HANGS
    while not holds():
        assert time.monotonic() < end, "it has not come to hold"
        time.sleep(0.02)

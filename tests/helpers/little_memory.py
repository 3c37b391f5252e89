"""A process that is refused more memory."""

import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")


@contextmanager
def little_memory(more: int) -> Iterator[None]:
    """Refuse this process, and those that it starts, more bytes than so many beside those in use.

    What a test needs must be imported before, so that it is in use.
    """
    status = Path("/proc/self/status").read_text()
    (kilobytes,) = re.findall(r"VmSize:\s+(\d+) kB", status)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1024 * int(kilobytes) + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

"""Processes in tests: wait for them, and run scripts of which nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 120.0  # seconds: for a machine that is busy with something else


def until(holds: Callable[[], Any]) -> Any:
    """Wait for a condition, which a test would wait for in vain only if it fails."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def heed_ctrl_c() -> None:
    """Undo, in a new process, that a shell's background jobs ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def run_script(folder: Path, code: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a session of its own, of which nothing is left afterwards."""
    script = folder / "script.py"
    script.write_text(code)
    process = subprocess.Popen(
        [sys.executable, script, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

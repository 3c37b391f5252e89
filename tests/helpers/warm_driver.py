"""Starts commands of ``dropkit`` at once, each in a process of its own, and kills some.

Reads one JSON list a line: the words of the command, and when to kill it, in seconds after its
start and in files of trainings that must be there first (null: never). Writes a line for each:
exit code, seconds it lived, and the processes it had started and not ended when it was killed.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

from dropkit.cli import run
from dropkit.study.training import train  # noqa: F401  (imports what a training needs)

FOLDERS = ("runs", "trials")
SYNC = 0.02  # seconds that the disk takes for a file: many an instant falls into writing


def children(process: int) -> list[int]:
    """The processes below one, at any depth."""
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def written(words: list[str]) -> int:
    folder = Path(words[words.index("--out") + 1])
    return sum(len(list((folder / name).glob("*.json"))) for name in FOLDERS)


def started(words: list[str]) -> int:
    """The id of a new process that runs the command and says nothing."""
    process = os.fork()
    if process:
        return process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sync = os.fsync
    os.fsync = lambda file: (time.sleep(SYNC), sync(file))[1]  # type: ignore[assignment]
    os._exit(run(words))


def ended(process: int, seconds: float) -> int | None:
    """The exit code, if the process ends within so many seconds."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.001)


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        words, seconds, files = json.loads(line)
        process = started(words)
        start = time.monotonic()
        code, below = None, []
        while code is None and files and written(words) < files:
            code = ended(process, 0.002)
        if code is None:
            code = ended(process, 600.0 if seconds is None else seconds)
        if code is None:
            os.kill(process, signal.SIGSTOP)  # so that it starts no other meanwhile
            below = children(process)
            os.kill(process, signal.SIGKILL)
            code = ended(process, 60.0)
        print(json.dumps([code, time.monotonic() - start, below]), flush=True)


if __name__ == "__main__":
    main()

"""Starts commands of ``dropkit`` at once, each in a process of its own, and kills some.

Reads one JSON list a line: the words of the command; when to kill it, in seconds after its start
and in files of trainings that must be there first (null: never); and whether trainings are made up
(see `helpers.tiny`). Writes a line for each: exit code, seconds it lived, and the processes it had
started and not ended when it was killed.
"""

import json
import os
import signal
import sys
import time
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import matplotlib.backends.backend_svg  # noqa: F401
import optuna  # noqa: F401
import torch

from dropkit import study
from dropkit.cli import run
from helpers.tiny import no_training
from helpers.waiting import HANGS

for module in walk_packages(study.__path__, "dropkit.study."):
    import_module(module.name)  # so that no command has to

FOLDERS = ("runs", "trials")
SYNC = 0.02  # seconds that the disk takes for a file: many an instant falls into writing


def children(process: int) -> list[int]:
    """The processes below one, at any depth."""
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            found += [child, *children(child)]
    return found


def count_files(words: list[str]) -> int:
    folder = Path(words[words.index("--out") + 1])
    return sum(len(list((folder / name).glob("*.json"))) for name in FOLDERS)


def start(words: list[str], made_up: bool) -> int:
    """Run the command in a new process that says nothing; returns its id."""
    process = os.fork()
    if process:
        return process
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    sync = os.fsync
    os.fsync = lambda file: (time.sleep(SYNC), sync(file))[1]  # type: ignore[assignment]
    with no_training() if made_up else nullcontext():
        os._exit(run(words))


def wait(process: int, seconds: float) -> int | None:
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
        words, seconds, files, made_up = json.loads(line)
        process = start(words, made_up)
        begun = time.monotonic()
        code, below = None, []
        while code is None and files and count_files(words) < files:
            code = wait(process, 0.002)
        if code is None:
            code = wait(process, HANGS if seconds is None else seconds)
        if code is None:
            os.kill(process, signal.SIGSTOP)  # so that it starts no other meanwhile
            below = children(process)
            os.kill(process, signal.SIGKILL)
            code = wait(process, HANGS)
        print(json.dumps([code, time.monotonic() - begun, below]), flush=True)


if __name__ == "__main__":
    main()

"""Start worker processes: forked from a process that has imported everything, where that works."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from dropkit.errors import StudyError
from dropkit.study.processes import QUIETLY, end_with
from dropkit.study.workers.main import NUMBER, TRAINING, Setting, serve, thread_limits, work
from dropkit.study.workers.parcel import Parcel

FORKS = sys.platform == "linux"  # elsewhere a fork of a process that has loaded torch is not safe

# `serve` notices the end of the driver, but not before everything is imported, which takes seconds.
_CODE = (
    "import ctypes, json, signal, sys; "
    "sys.argv[4:] and ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "sys.path[:] = json.loads(sys.argv[1]); "
    f"{QUIETLY.format('import ' + ', '.join((serve.__module__, *TRAINING)))}"
    f"gc.disable(); sys.modules[{serve.__module__!r}].serve(*map(int, sys.argv[2:4]))"
)


class Worker(ABC):
    """A worker process, as its driver holds it: `main.work` is at the other end.

    ``sentinel`` can be waited for, and is ready when the process has ended.
    """

    connection: Connection
    sentinel: Any
    process: int

    def __init__(self) -> None:
        self._parcel: Parcel | None = None

    def begin(self, setting: Setting) -> None:
        """Send what the worker takes over from this process."""
        with suppress(ConnectionError):  # one that is gone is noticed by its sentinel
            self.connection.send(setting)

    def give(self, parcel: Parcel, item: bytes) -> None:
        """Send a pickled item, and the function for it unless it is there."""
        with suppress(ConnectionError):
            if parcel is not self._parcel:
                self.connection.send_bytes(b"")
                parcel.send(self.connection)
                self._parcel = parcel
            self.connection.send_bytes(item)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    @abstractmethod
    def exit_code(self) -> int | None:
        """Wait for the end and return the exit code, negative for a signal, None if unknown."""

    def close(self) -> None:
        """Let an idle worker end."""
        self.connection.close()


class Forked(Worker):
    """A worker that was forked by a `ForkServer`."""

    def __init__(self, connection: Connection, pipe: int) -> None:
        super().__init__()
        self.connection, self.sentinel, self._closed = connection, pipe, False
        process = self._number()
        if process is None:
            raise ConnectionError("the process that forks workers has ended")
        self.process = process

    def _number(self) -> int | None:
        content = os.read(self.sentinel, NUMBER.size)
        return NUMBER.unpack(content)[0] if content else None

    def exit_code(self) -> int | None:
        return self._number()

    def close(self) -> None:
        super().close()
        if not self._closed:
            os.close(self.sentinel)
        self._closed = True


class ForkServer:
    """A process that has imported the training code and forks workers.

    It runs no code that starts threads of Python, torch or BLAS, which a fork would lose. It
    neither reads the user's main script nor keeps anything of a study. Workers end with it, and it
    ends with this process.
    """

    def __init__(self) -> None:
        self._driver = os.getpid()
        self._socket, theirs = socket.socketpair()
        words = [json.dumps(sys.path), str(theirs.fileno()), str(self._driver)]
        if threading.current_thread() is threading.main_thread():
            words.append("end with the thread that started you")  # as the kernel means it
        with theirs, _interrupts_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *words],
                env=os.environ | thread_limits(1),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.end)

    @property
    def works(self) -> bool:
        """Whether it runs, and belongs to this process and not to one that this was forked from."""
        return self._driver == os.getpid() and self._process.poll() is None

    def fork(self, count: int) -> list[Forked]:
        """Fork this many workers."""
        ends = []
        for _ in range(count):
            ours, theirs = socket.socketpair()
            read, write = os.pipe()
            with theirs:
                socket.send_fds(self._socket, [b"f"], [theirs.fileno(), write])
            os.close(write)
            ends.append((Connection(ours.detach()), read))
        return [Forked(*each) for each in ends]

    def end(self) -> None:
        """End it, and with it all of its workers."""
        atexit.unregister(self.end)
        if self._driver == os.getpid():
            self._socket.close()
            self._process.kill()
            self._process.wait()


class Spawned(Worker):
    """A worker that imports everything by itself, for systems without safe forks."""

    def __init__(self) -> None:
        super().__init__()
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_begin_spawned, args=(theirs,))
        with _main_hidden(), _interrupts_blocked():
            self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.process, self.sentinel = self._process.pid, self._process.sentinel

    def kill(self) -> None:
        self._process.kill()

    def exit_code(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def close(self) -> None:
        super().close()
        self._process.join()
        self._process.close()


def _begin_spawned(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(os.getppid())
    work(connection)


_server: ForkServer | None = None
_starting = threading.Lock()


def start_server() -> None:
    """Start the process that forks workers, unless it runs, and return before it is ready.

    It is kept for later studies, and ends with this process.
    """
    global _server
    if not FORKS:
        return
    with _starting:
        if _server is None or not _server.works:
            _server = ForkServer()


def start_workers(count: int, threads: int) -> list[Worker]:
    """Start this many workers, of so many threads each."""
    workers: list[Worker] = []
    if FORKS:
        workers += _forked(count)
    else:
        workers += (Spawned() for _ in range(count))
    setting = Setting(sys.path, sys.argv, os.getcwd(), dict(os.environ), threads)
    for worker in workers:
        worker.begin(setting)
    return workers


def _forked(count: int) -> list[Forked]:
    for left in (1, 0):
        start_server()
        assert _server is not None
        try:
            return _server.fork(count)
        except ConnectionError:
            _server.end()  # somebody has killed it; the next one works, unless none can
            if not left:
                raise StudyError("cannot start worker processes; use --jobs 1") from None
    raise AssertionError


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: the driver ends them.

    A terminal sends it to all processes at once. What is blocked here stays blocked there.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep ``multiprocessing`` from running the user's main script again in a new process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main

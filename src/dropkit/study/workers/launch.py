"""Start worker processes; on Linux, fork them from a process that has imported everything."""

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

# On other systems, forking a process that has loaded torch is unsafe.
FORKS = sys.platform == "linux"

# The kernel kills this process with the driver, because `serve` notices the driver's end only after
# the imports, which take seconds.
_CODE = (
    "import ctypes, json, signal, sys; "
    "sys.argv[4:] and ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "sys.path[:] = json.loads(sys.argv[1]); "
    f"{QUIETLY.format('import ' + ', '.join((serve.__module__, *TRAINING)))}"
    f"gc.disable(); sys.modules[{serve.__module__!r}].serve(*map(int, sys.argv[2:4]))"
)


class Worker(ABC):
    """The driver's handle of a worker process, which runs `main.work`.

    ``sentinel`` is a waitable object that becomes ready when the process ends.
    """

    connection: Connection
    sentinel: Any
    process: int

    def __init__(self) -> None:
        self._parcel: Parcel | None = None

    def begin(self, setting: Setting) -> None:
        """Send the settings that the worker copies from this process."""
        with suppress(ConnectionError):  # the sentinel reports a worker that has ended
            self.connection.send(setting)

    def give(self, parcel: Parcel, item: bytes) -> None:
        """Send a pickled item; before it, send the function if this worker does not have it yet."""
        with suppress(ConnectionError):
            if parcel is not self._parcel:
                self.connection.send_bytes(b"")
                parcel.send(self.connection)
                self._parcel = parcel
            self.connection.send_bytes(item)

    def kill(self) -> None:
        """Kill the process."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)

    @abstractmethod
    def exit_code(self) -> int | None:
        """Wait for the end; return the exit code, negative for a signal, or ``None`` if unknown."""

    def close(self) -> None:
        """End an idle worker."""
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

    It runs no code that starts threads of Python, torch or BLAS, because a fork loses threads. It
    does not execute the user's main script and keeps no data of a study. Workers end when the
    server ends, and the server ends with this process.
    """

    def __init__(self) -> None:
        self._driver = os.getpid()
        self._socket, theirs = socket.socketpair()
        words = [json.dumps(sys.path), str(theirs.fileno()), str(self._driver)]
        if threading.current_thread() is threading.main_thread():
            words.append("end with the thread that started you")  # the kernel watches threads
        with theirs, _block_interrupts():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CODE, *words],
                env=os.environ | thread_limits(1),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.end)

    @property
    def works(self) -> bool:
        """Whether the server runs and was started by this process, not by a parent of a fork."""
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
        """End the server and all its workers."""
        atexit.unregister(self.end)
        if self._driver == os.getpid():
            self._socket.close()
            self._process.kill()
            self._process.wait()


class Spawned(Worker):
    """A worker that imports everything itself, for systems without safe forks."""

    def __init__(self) -> None:
        super().__init__()
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: SpawnProcess = context.Process(target=_begin_spawned, args=(theirs,))
        with _hide_main(), _block_interrupts():
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
    """Start the process that forks workers if none runs, and return before it is ready.

    The process remains for later studies, and ends with this process.
    """
    global _server
    if not FORKS:
        return
    with _starting:
        if _server is None or not _server.works:
            _server = ForkServer()


def start_workers(count: int, threads: int) -> list[Worker]:
    """Start ``count`` workers with ``threads`` threads each."""
    workers: list[Worker] = []
    if FORKS:
        workers += _fork_workers(count)
    else:
        workers += (Spawned() for _ in range(count))
    setting = Setting(sys.path, sys.argv, os.getcwd(), dict(os.environ), threads)
    for worker in workers:
        worker.begin(setting)
    return workers


def _fork_workers(count: int) -> list[Forked]:
    for left in (1, 0):
        start_server()
        assert _server is not None
        try:
            return _server.fork(count)
        except ConnectionError:
            _server.end()  # the server was killed; try a new one
            if not left:
                raise StudyError("cannot start worker processes; use --jobs 1") from None
    raise AssertionError


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block Ctrl-C for processes that are started here, because the driver ends them.

    A terminal sends Ctrl-C to all processes. New processes inherit the blocked signal.
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
def _hide_main() -> Iterator[None]:
    """Keep ``multiprocessing`` from executing the user's main script in a new process."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main

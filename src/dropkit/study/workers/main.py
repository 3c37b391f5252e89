"""Run worker processes and the process that forks them."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

import cloudpickle  # type: ignore[import-untyped]

from dropkit.study.workers.parcel import receive

NUMBER = struct.Struct("q")  # the format of a process id or an exit code in a pipe

# Modules that the first training imports; the process that forks workers imports them once.
TRAINING = ("dropkit.study.training.work",)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Setting:
    """The settings that a worker copies from its driver.

    Args:
        path: the search path of modules.
        arguments: the command-line arguments.
        folder: the working folder.
        environment: the environment variables.
        threads: number of CPU threads.
    """

    path: list[str]
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    threads: int

    def apply(self) -> None:
        """Apply the settings to this process."""
        sys.path[:] = self.path
        sys.argv[:] = self.arguments
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment | thread_limits(self.threads))

        import numpy as np
        import torch

        np.random.seed()  # otherwise all forked workers draw the same numbers
        torch.set_num_threads(self.threads)
        if self.threads > 1:  # libraries were limited to one thread when imported
            from threadpoolctl import threadpool_limits

            threadpool_limits(self.threads)


def thread_limits(threads: int) -> dict[str, str]:
    """Return environment variables that limit numerical libraries to ``threads`` threads."""
    names = ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


def serve(descriptor: int, parent: int) -> NoReturn:
    """Fork a worker for each request of the driver, the parent process, until the driver ends.

    This process has imported the training code for all its workers. A request holds two
    descriptors: the worker's end of its connection, and a pipe. The worker's process id is written
    to the pipe at the start, and its exit code at the end.
    """
    driver = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    pipes: dict[int, int] = {}
    while True:
        ready = wait([driver, woken], timeout=1.0)
        if (
            os.getppid() != parent
        ):  # the driver has ended, but a fork of it may keep the socket open
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)
            _report_ended(pipes)
        if driver not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(driver, 1, 2)
        if not message:
            os._exit(0)
        connection, pipe = descriptors
        server = os.getpid()
        process = os.fork()
        if process == 0:
            driver.close()
            for each in (woken, wake, pipe, *pipes.values()):
                os.close(each)
            os.set_inheritable(connection, False)
            _begin_forked(server)
            work(Connection(connection))
        os.close(connection)
        pipes[process] = pipe
        with suppress(BrokenPipeError):
            os.write(pipe, NUMBER.pack(process))


def _report_ended(pipes: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while True:
            process, status = os.waitpid(-1, os.WNOHANG)
            if not process:
                return
            pipe = pipes.pop(process)
            with suppress(BrokenPipeError):
                os.write(pipe, NUMBER.pack(os.waitstatus_to_exitcode(status)))
            os.close(pipe)


def _begin_forked(server: int) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The kernel kills this process when the server ends, and the server ends with the driver.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # the server may have ended before the call above
        os._exit(1)
    gc.enable()


def work(connection: Connection) -> NoReturn:
    """Run as a worker: call the function on each item until the driver closes the connection."""
    os.dup2(2, 1)  # output of user code must not mix with the driver's output
    code = 0
    try:
        connection.recv().apply()
        _answer(connection)
    except (EOFError, ConnectionError):
        pass
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)  # at once, because a normal shutdown takes seconds


def _answer(connection: Connection) -> NoReturn:
    function: Callable[[Any], Any] | None = None
    while True:
        message = connection.recv_bytes()
        if message:
            assert function is not None
            connection.send_bytes(_call(function, message))
        else:
            function = None  # free its memory before the next function is loaded
            try:
                function = receive(connection)
            except Exception as error:  # for example, a module of the driver is not found
                function = partial(_fail, error)


def _fail(error: Exception, _: Any) -> NoReturn:
    raise error


def _call(function: Callable[[Any], Any], item: bytes) -> bytes:
    """Return the pickled outcome: ``(True, result)`` or ``(False, Raised)``."""
    try:
        outcome: bytes = cloudpickle.dumps((True, function(pickle.loads(item))))
        return outcome
    except BaseException as error:
        raised: bytes = cloudpickle.dumps((False, Raised.of(error)))
        return raised


@dataclass(frozen=True)
class Raised:
    """An error sent from a worker: its pickle if that is possible, and its text."""

    pickled: bytes
    line: str
    trace: str

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """Pack an error."""
        try:
            pickled = cloudpickle.dumps(error)
        except Exception:
            pickled = b""
        trace = "".join(traceback.format_exception(error))
        return cls(pickled, f"{type(error).__name__}: {error}", trace)

    def error(self) -> BaseException:
        """Rebuild the error, whose ``__cause__`` shows the traceback in the worker."""
        try:
            error = pickle.loads(self.pickled)
        except Exception:
            error = RuntimeError(self.line)
        error.__cause__ = WorkerTraceback(self.trace)
        found: BaseException = error
        return found


class WorkerTraceback(Exception):
    """The traceback of an error in a worker process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"

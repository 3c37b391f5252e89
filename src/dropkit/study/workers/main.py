"""The programs of worker processes and of the process that forks them."""

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

NUMBER = struct.Struct("q")  # how a process id and an exit code are written into a pipe

# What the first training imports. A process that forks workers has it ready for all of them.
TRAINING = ("dropkit.study.training.work",)

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Setting:
    """What a worker takes over from its driver.

    Args:
        path: where modules are looked for.
        arguments: the words of the command line.
        folder: the working folder.
        environment: the environment variables.
        threads: processor threads.
    """

    path: list[str]
    arguments: list[str]
    folder: str
    environment: dict[str, str]
    threads: int

    def apply(self) -> None:
        """Work as the driver would."""
        sys.path[:] = self.path
        sys.argv[:] = self.arguments
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment | thread_limits(self.threads))

        import numpy as np
        import torch

        np.random.seed()  # forked workers would all draw the same numbers
        torch.set_num_threads(self.threads)
        if self.threads > 1:  # they were limited to one when they were imported
            from threadpoolctl import threadpool_limits

            threadpool_limits(self.threads)


def thread_limits(threads: int) -> dict[str, str]:
    """The environment variables that keep numerical libraries to so many threads."""
    names = ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "VECLIB_MAXIMUM")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


def serve(descriptor: int, parent: int) -> NoReturn:
    """Fork a worker for each request of the driver, the parent process, until that is gone.

    This process has imported the training code for all of its workers. A request brings two
    descriptors: the worker's end of its connection, and a pipe that takes the worker's process id
    when it is forked and its exit code when it has ended.
    """
    driver = socket.socket(fileno=descriptor)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    pipes: dict[int, int] = {}
    while True:
        ready = wait([driver, woken], timeout=1.0)
        if os.getppid() != parent:  # a fork of it may still have the other end of the socket
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
    # The kernel ends this process with the server, and so with the driver, whatever it is doing.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # which may have ended before that
        os._exit(1)
    gc.enable()


def work(connection: Connection) -> NoReturn:
    """Be a worker: call the function on one item after the other, until the driver hangs up."""
    os.dup2(2, 1)  # what users print must not mix with the driver's own output
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
    os._exit(code)  # at once: to take down all that is loaded takes seconds


def _answer(connection: Connection) -> NoReturn:
    function: Callable[[Any], Any] | None = None
    while True:
        message = connection.recv_bytes()
        if message:
            assert function is not None
            connection.send_bytes(_call(function, message))
        else:
            function = None  # before the next one takes memory too
            try:
                function = receive(connection)
            except Exception as error:  # a module of the driver that is not found here, for example
                function = partial(_fail, error)


def _fail(error: Exception, _: Any) -> NoReturn:
    raise error


def _call(function: Callable[[Any], Any], item: bytes) -> bytes:
    """The pickled outcome: ``(True, result)``, or ``(False, Raised)``."""
    try:
        outcome: bytes = cloudpickle.dumps((True, function(pickle.loads(item))))
        return outcome
    except BaseException as error:
        raised: bytes = cloudpickle.dumps((False, Raised.of(error)))
        return raised


@dataclass(frozen=True)
class Raised:
    """An error on its way from a worker: pickled, and as text in case it cannot be."""

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
        """Rebuild the error, caused by one that shows where it was raised."""
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

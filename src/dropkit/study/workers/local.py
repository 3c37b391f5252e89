"""Run work in processes of this machine."""

from __future__ import annotations

import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Generic, Self

import cloudpickle  # type: ignore[import-untyped]
import torch

from dropkit.study.processes import count_cores
from dropkit.study.workers.launch import Worker, start_server, start_workers
from dropkit.study.workers.parcel import Parcel
from dropkit.study.workers.protocol import Item, Losses, Result


class LocalWorkers:
    """Worker processes on this machine; if ``count`` is 1, this process itself.

    If the worker of an item is lost, the item is restarted alone, after all other items. So an item
    that ends every worker does not affect the other items.

    Args:
        count: number of workers; ``None`` for as many as the cores allow.
        threads: CPU threads per worker.

    Raises:
        StudyError: in ``map``, after all other items, if an item lost its worker three times.

    >>> with LocalWorkers(1) as workers:
    ...     sorted(workers.map(abs, [-2, 3]))
    [(-2, 2), (3, 3)]
    """

    def __init__(self, count: int | None = None, threads: int = 1) -> None:
        self.count = count or max(1, count_cores() // threads)
        self.threads = threads
        self._idle: list[Worker] = []
        self._busy: dict[Worker, Any] = {}
        self._sent: tuple[Any, Parcel] | None = None  # a function, pickled once for all workers

    def __str__(self) -> str:
        return str(self.count)

    def start(self) -> None:
        """Start importing the modules of workers in another process, and return at once."""
        if self.count > 1:
            start_server()

    def __enter__(self) -> Self:
        self._threads_before = torch.get_num_threads()
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()
        while self._idle:
            self._idle.pop().close()
        if self._sent:
            self._sent[1].close()
        self._sent = None
        torch.set_num_threads(self._threads_before)

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with the function's result, in the order in which items finish."""
        if self.count == 1:
            for item in items:
                yield item, function(item)
            return
        queue = _Queue(items)
        losses = Losses(say)
        parcel = self._parcel(function)
        busy: dict[Worker, _Task[Item]] = self._busy

        def hand_out() -> None:
            while len(busy) < self.count and (task := queue.take(alone=not busy)):
                if not self._idle:
                    missing = min(self.count - len(busy), 1 + len(queue.fresh))
                    self._idle += start_workers(missing, self.threads)
                worker = self._idle.pop()
                busy[worker] = task
                worker.give(parcel, cloudpickle.dumps(task.item))

        try:
            hand_out()
            while busy:
                for worker in _wait_for_any(busy):
                    task = busy.pop(worker)
                    if (outcome := _receive(worker)) is None:
                        cause = _explain_end(worker)
                        worker.close()
                        if losses.restart(
                            task.item, task.attempt, cause, "restarting it after the others"
                        ):
                            queue.put_back(task)
                        hand_out()
                        continue
                    self._idle.append(worker)
                    hand_out()  # before the caller processes the result
                    succeeded, result = outcome
                    if not succeeded:
                        raise result.error()
                    yield task.item, result
        finally:
            self._stop()
        losses.check()

    def _parcel(self, function: Any) -> Parcel:
        if not self._sent or self._sent[0] is not function:
            if self._sent:
                self._sent[1].close()
            self._sent = function, Parcel(function)
        return self._sent[1]

    def _stop(self) -> None:
        """Stop the workers whose results are no longer needed."""
        while self._busy:
            worker, _ = self._busy.popitem()
            worker.kill()
            worker.close()


@dataclass(frozen=True)
class _Task(Generic[Item]):
    """An item with the number of its attempt."""

    item: Item
    attempt: int = 1


class _Queue(Generic[Item]):
    """A queue of items; items that lost a worker come last, one at a time."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.fresh = deque(map(_Task, items))
        self._again: deque[_Task[Item]] = deque()

    def take(self, *, alone: bool) -> _Task[Item] | None:
        """Take the next item; ``alone`` means that no other item is running."""
        if self.fresh:
            return self.fresh.popleft()
        return self._again.popleft() if self._again and alone else None

    def put_back(self, task: _Task[Item]) -> None:
        """Put back an item whose worker was lost."""
        self._again.append(_Task(task.item, task.attempt + 1))


def _wait_for_any(workers: Iterable[Worker]) -> list[Worker]:
    """Wait until a worker has a result or has ended; return all such workers."""
    by_object = {
        each: worker for worker in workers for each in (worker.connection, worker.sentinel)
    }
    return list(dict.fromkeys(by_object[each] for each in wait(by_object)))


def _receive(worker: Worker) -> tuple[bool, Any] | None:
    """Return the outcome of the worker's item; ``None`` if the worker is lost."""
    try:
        if worker.connection.poll():
            outcome: tuple[bool, Any] = pickle.loads(worker.connection.recv_bytes())
            return outcome
    except (EOFError, OSError):
        worker.kill()
    return None


def _explain_end(worker: Worker) -> str:
    """Describe briefly why a worker ended."""
    code = worker.exit_code()
    if code is None:
        return "it ended"
    if code >= 0:  # a stuck training is killed with code 1 after its time limit
        return f"exit code {code}" + (", perhaps after its time limit" if code == 1 else "")
    name = signal.Signals(-code).name
    return f"{name}, perhaps for lack of memory" if -code == signal.SIGKILL else name

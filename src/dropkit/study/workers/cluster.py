"""Run work on a Ray cluster: one task per item, restarted if its node or worker is lost."""

from __future__ import annotations

import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from itertools import islice
from typing import Any, Self

from dropkit.errors import StudyError, first_line
from dropkit.study.processes import QUIETLY
from dropkit.study.workers.main import TRAINING
from dropkit.study.workers.protocol import Item, Losses, Result

LOOK = 1.0  # seconds between two counts of the cluster's nodes
AHEAD = 2  # submitted items for each item that the cluster can run at a time
SAME = ("dropkit", "torch")  # packages whose versions must be equal, because they affect results


class RayWorkers:
    """The nodes of a Ray cluster.

    The function given to `map` is put into the cluster's object store once and fetched once by
    every node; an item and its result travel with each task. When a worker or a node is lost,
    its items are restarted elsewhere, up to three times.

    Args:
        address: ``auto`` for the cluster that this machine belongs to, or ``host:port`` of its
            head node.
        cpus: processor cores that each task reserves.
        gpus: GPUs that each task reserves; a fraction shares one.

    Raises:
        StudyError: Ray is not installed, the cluster does not answer, a node has other versions of
            dropkit or torch, or no node has the cores or GPUs that one task reserves.
    """

    def __init__(self, address: str, cpus: float = 1, gpus: float = 0) -> None:
        for name, amount, rule, holds in (
            ("cpus-per-run", cpus, "above 0", cpus > 0),
            ("gpus-per-run", gpus, "0 or more, whole if above 1", gpus >= 0),
        ):
            if not holds or (amount > 1 and amount % 1):
                raise StudyError(f"{name} must be {rule}, got {amount:g}")
        self.address, self.cpus, self.gpus = address, cpus, gpus

    def __str__(self) -> str:
        nodes = len(self._nodes())
        return f"{self._slots()} on {nodes} node{'s' * (nodes != 1)} of a Ray cluster"

    def start(self) -> None:
        """Do nothing, because the cluster already runs."""

    def __enter__(self) -> Self:
        self._ray = import_ray()
        self._sent: tuple[Any, Any] = (None, None)
        self._own = not self._ray.is_initialized()
        if self._own:
            self._connect()
        try:
            self._check_resources()
            self._check_versions()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._own:
            self._ray.shutdown()  # ends all tasks of this driver

    def map(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        say: Callable[[str], None] = print,
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with the function's result, in the order in which items finish."""
        ray = self._ray
        resources: dict[str, Any] = {"num_cpus": self.cpus, "num_gpus": self.gpus}

        def call(sent: tuple[None, Callable[[Item], Result]], item: Item) -> Result:
            return sent[1](item)

        task = ray.remote(max_retries=0, **resources)(call)
        if function is not self._sent[0]:
            self._sent = (function, ray.put((_Imports(), function)))
        put = self._sent[1]
        left = iter(items)
        under_way: dict[Any, tuple[Item, int]] = {}
        losses = Losses(say)
        look = 0.0  # time of the next count of slots: nodes join and leave
        try:
            while True:
                if time.monotonic() >= look:
                    most, look = max(1, AHEAD * self._slots()), time.monotonic() + LOOK
                for item in islice(left, max(0, most - len(under_way))):
                    under_way[task.remote(put, item)] = (item, 1)
                if not under_way:
                    break
                ended, _ = ray.wait(list(under_way), num_returns=1)
                for reference in ended:
                    item, attempt = under_way.pop(reference)
                    try:
                        result = ray.get(reference)
                    except _loss_errors(ray) as error:
                        if losses.restart(item, attempt, _summarize(error), "restarting it"):
                            under_way[task.remote(put, item)] = (item, attempt + 1)
                    except ray.exceptions.RayTaskError as error:
                        raise _find_cause(error) from error
                    else:
                        yield item, result
        finally:
            for reference in under_way:
                ray.cancel(reference, force=True)
        losses.check()

    def _connect(self) -> None:
        if self.address != "auto":
            host, _, port = self.address.rpartition(":")
            if "://" in host or not port.isdecimal():
                raise StudyError(f"a Ray address is auto or host:port, got {self.address!r}")
            try:  # Ray itself waits for minutes and then ends this process
                socket.create_connection((host, int(port)), timeout=10).close()
            except OSError as error:
                raise StudyError(
                    f"no Ray cluster answers at {self.address}: {error.strerror or error}"
                ) from error
        try:
            with warnings.catch_warnings():  # the error repeats these warnings
                warnings.simplefilter("ignore")
                self._ray.init(address=self.address, log_to_driver=False, logging_level="ERROR")
        except Exception as error:
            hint = "; if it asks for a token: export RAY_AUTH_MODE=token"
            if self.address == "auto":
                hint = "; start one with: ray start --head"
            raise StudyError(
                f"cannot join the Ray cluster at {self.address}: {_summarize(error)}{hint}"
            ) from error

    def _nodes(self) -> list[dict[str, Any]]:
        """Return the nodes that are alive and can run at least one task."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        return [
            node
            for node in self._ray.nodes()
            if node["Alive"]
            and all(node["Resources"].get(kind, 0) >= amount for kind, amount in wanted.items())
        ]

    def _slots(self) -> int:
        """Return how many tasks the cluster can run at a time."""
        count = 0
        for node in self._nodes():
            has = node["Resources"]
            slots = has["CPU"] / self.cpus
            count += int(min(slots, has["GPU"] / self.gpus) if self.gpus else slots)
        return count

    def _check_resources(self) -> None:
        if self._nodes():
            return
        wanted = f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")
        most = {
            kind: max((node["Resources"].get(kind, 0) for node in self._ray.nodes()), default=0)
            for kind in ("CPU", "GPU")
        }
        raise StudyError(
            f"no node of the Ray cluster has the {wanted} that a training asks for; the largest "
            f"have {most['CPU']:g} CPUs and {most['GPU']:g} GPUs"
        )

    def _check_versions(self) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

        def versions(packages: tuple[str, ...]) -> list[str | None]:
            from importlib.metadata import PackageNotFoundError, version

            found: list[str | None] = []
            for package in packages:
                try:
                    found.append(version(package))
                except PackageNotFoundError:
                    found.append(None)
            return found

        task = self._ray.remote(num_cpus=0, max_retries=0)(versions)
        asked = [
            (
                node["NodeManagerAddress"],
                task.options(scheduling_strategy=On(node["NodeID"], soft=False)).remote(SAME),
            )
            for node in self._nodes()
        ]
        errors = self._ray.exceptions
        for address, reference in asked:
            try:
                there = self._ray.get(reference, timeout=120)
            except (*_loss_errors(self._ray), errors.TaskUnschedulableError):
                continue  # the node has just left
            except errors.RayError as error:
                raise StudyError(
                    f"node {address} of the Ray cluster: {_summarize(error)}"
                ) from error
            for package, other in zip(SAME, there, strict=True):
                if other != version(package):
                    raise StudyError(
                        f"node {address} of the Ray cluster has {package} {other or 'not at all'}, "
                        f"and {version(package)} is here; install the same version on every node"
                    )


class _Imports:
    """An object that imports the training code when a node unpickles it, before other objects.

    The task's own function is unpickled even earlier, so it must be pickled by value; otherwise Ray
    would import its module first.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        once = f"import sys\nif {TRAINING[0]!r} not in sys.modules: "
        return exec, (once + QUIETLY.format(f"import {', '.join((__name__, *TRAINING))}"), {})


def import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise StudyError("--ray needs Ray: pip install 'dropkit[ray]'") from error
    return ray


def _loss_errors(ray: Any) -> tuple[type[Exception], ...]:
    """Return the errors that Ray raises if a worker, a node or its objects are lost."""
    known = ray.exceptions
    return (
        known.WorkerCrashedError,
        known.NodeDiedError,
        known.OutOfMemoryError,
        known.ObjectLostError,
        known.LocalRayletDiedError,
    )


def _find_cause(error: Any) -> Exception:
    """Return the error that a task raised, or one line on why it did not start."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return cause
    return StudyError(f"a node of the Ray cluster: {_summarize(error)}")


def _summarize(error: BaseException) -> str:
    """Return the first line of an error or of its task's error; Ray's errors have many lines."""
    error = getattr(error, "cause", None) or error
    name, text = type(error).__name__, first_line(error)
    return text if text == name else f"{name}: {text}"

"""Several processes that train one net together: ``torchrun``'s own engine, started from here."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import cloudpickle  # type: ignore[import-untyped]
import torch
from torch import distributed

from dropkit.errors import StudyError, is_out_of_memory
from dropkit.study.config import FEWEST
from dropkit.study.workers.local import SERVE, cores, end_with

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """One of ``ranks`` processes that train a net together; alone by default.

    Of every batch each takes a share of the rows. A gradient averaged over the ranks is that of
    the whole batch if each loss, a mean over its rows, counts `share`'s weight of it.
    """

    rank: int = 0
    ranks: int = 1

    def share(self, count: int) -> tuple[slice, float]:
        """This rank's rows of ``count``, and what its mean over them counts: ranks · rows / count.

        Where rows do not suffice for two on every rank, the ranks left over repeat the first
        one's, and count nothing: all must take part in every step.

        >>> [Rank(rank, 2).share(5) for rank in range(2)]
        [(slice(0, 2, None), 0.8), (slice(2, 5, None), 1.2)]
        >>> [Rank(rank, 2).share(3) for rank in range(2)]
        [(slice(0, 3, None), 2.0), (slice(0, 3, None), 0.0)]
        """
        taking = max(1, min(self.ranks, count // FEWEST))
        place = self.rank if self.rank < taking else 0
        start, end = count * place // taking, count * (place + 1) // taking
        weight = self.ranks * (end - start) / count if self.rank < taking else 0.0
        return slice(start, end), weight

    def everyones(self, mine: T) -> list[T]:
        """What every rank has of this, in their order; all must ask."""
        if self.ranks == 1:
            return [mine]
        found: list[Any] = [None] * self.ranks
        distributed.all_gather_object(found, mine)
        return found


def check_devices(devices: int) -> None:
    """Raise `StudyError` unless this machine has so many GPUs or, without any, processor cores."""
    gpus = torch.cuda.device_count()
    there, kind = (gpus, "GPU") if gpus else (cores(), "processor core")
    if devices > 1 and not (distributed.is_available() and os.name == "posix"):
        raise StudyError("several devices need torch.distributed and a POSIX system; use one")
    if devices > there:
        raise StudyError(
            f"devices must be at most {there}, since this machine has {there} {kind}"
            f"{'s' * (there > 1)}{'' if gpus else ' and no GPU'}; got {devices}"
        )


def on_ranks(ranks: int, function: Callable[..., T], *arguments: Any) -> T:
    """Return what rank 0 returns of ``function(Rank, *arguments)``, called on all ranks at once.

    The ranks are processes of their own on this machine, each with as many threads as this one and
    ``torch.distributed``'s environment in place. They end when this process does, and together
    when one of them fails.

    Raises:
        StudyError: a rank died or failed. An error of the user's, and a lack of memory, are
            raised as they are.
    """
    # Elastic takes a while to import, and nobody else needs it.
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    check_devices(ranks)
    with tempfile.TemporaryDirectory(prefix="dropkit-ranks-") as name:
        folder, code = Path(name), SERVE.format(__name__, "")
        with (folder / "call").open("wb") as file:
            pickle.dump((sys.path, torch.get_num_threads()), file)
            cloudpickle.dump((function, arguments), file)  # by value where they cannot be imported
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=ranks,
            run_id=uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(str(folder / "logs"), redirects=Std.ALL),
            # Ctrl-C reaches this process as ever, but not the ranks, which have sessions of
            # their own; they have nothing to save, so that none needs time to end.
            signals_to_handle="SIGTERM",
            shutdown_timeout=0,
        )
        try:
            with _undisturbed():
                elastic_launch(config, sys.executable)("-c", code, folder, os.getpid())
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise _cause(folder, codes, ranks) from None
        except SignalException as error:
            signal.raise_signal(error.sigval)
            raise
        return pickle.loads((folder / "returned").read_bytes())  # type: ignore[no-any-return]


def serve() -> None:
    """Be a rank: call what `on_ranks` was given and leave there what came of it."""
    folder, driver = Path(sys.argv[1]), int(sys.argv[2])
    end_with(driver)
    _end_at_once()
    rank = Rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    try:
        with (folder / "call").open("rb") as file:
            sys.path[:], threads = pickle.load(file)
            torch.set_num_threads(threads)
            function, arguments = pickle.load(file)
        returned = function(rank, *arguments)
        if rank.rank == 0:
            (folder / "returned").write_bytes(cloudpickle.dumps(returned))
        if distributed.is_initialized():
            distributed.destroy_process_group()
    except BaseException as error:
        _leave(folder / f"failed-{rank.rank}", error)
        os._exit(1)  # without waiting for ranks that wait for this one
    os._exit(0)  # at once: to take down all that is loaded takes seconds


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the launcher's reports to itself, and put the handler back that it replaces."""
    logger = logging.getLogger("torch.distributed.elastic")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        logger.setLevel(level)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if handler is None else handler)


def _end_at_once() -> None:
    """End at a SIGTERM, even while waiting for a rank that will never answer.

    Handlers in Python run between two instructions of Python, of which there are none then; but
    the number of the signal is written to a file as it comes.
    """
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def wait() -> None:
        while os.read(read, 1) != bytes([signal.SIGTERM]):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _leave(file: Path, error: BaseException) -> None:
    """Write an error down: as a line, and itself if it can be read again."""
    line = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    try:
        content = cloudpickle.dumps(error)
        pickle.loads(content)
    except Exception:
        content = b""
    part = file.with_name(f"part-{file.name}")
    part.write_bytes(pickle.dumps((line, content)))
    part.replace(file)


def _cause(folder: Path, codes: dict[int, int], ranks: int) -> Exception:
    """Why ranks ended with these codes: what one met first, and others in its wake do not hide."""

    def of(rank: int) -> str:
        return f"process {rank + 1} of the {ranks} that train together"

    met: dict[int, str] = {}
    for file in sorted(folder.glob("failed-*"), key=lambda file: file.stat().st_mtime_ns):
        line, content = pickle.loads(file.read_bytes())
        error: Exception | None = pickle.loads(content) if content else None
        if isinstance(error, StudyError) or (error is not None and is_out_of_memory(error)):
            return error
        met[int(file.name.partition("-")[2])] = line
    for rank, code in codes.items():
        if code < 0 and code != -signal.SIGTERM and rank not in met:
            name = signal.Signals(-code).name
            return StudyError(f"{of(rank)} was ended by {name}, perhaps for lack of memory")
    for rank, line in met.items():
        return StudyError(f"{of(rank)} failed: {line}")
    rank, code = next(iter(codes.items()))
    files = folder.glob(f"logs/**/{rank}/stderr.log")
    said = " ".join(file.read_text(errors="replace") for file in files).strip().splitlines()
    return StudyError(f"{of(rank)} ended with code {code}" + (f": {said[-1]}" if said else ""))

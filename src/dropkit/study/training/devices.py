"""Train one network on several devices, with one process per device."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle  # type: ignore[import-untyped]
import torch
from torch import distributed

from dropkit.errors import StudyError, is_out_of_memory
from dropkit.random import set_data_parallel
from dropkit.study.processes import SERVE, count_cores, end_with
from dropkit.study.training.ranks import Rank

T = TypeVar("T")

_LOOK = 0.02  # seconds between two checks of the processes


def check_devices(devices: int) -> None:
    """Raise `StudyError` unless this machine has enough GPUs or, without GPUs, enough cores."""
    gpus = torch.cuda.device_count()
    there, kind = (gpus, "GPU") if gpus else (count_cores(), "processor core")
    if devices > 1 and not (distributed.is_available() and os.name == "posix"):
        raise StudyError("several devices need torch.distributed and a POSIX system; use one")
    if devices > there:
        raise StudyError(
            f"devices must be at most {there}, since this machine has {there} {kind}"
            f"{'s' * (there > 1)}{'' if gpus else ' and no GPU'}; got {devices}"
        )


def call_on_devices(devices: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call ``function(Rank, *arguments)`` on all ranks at once, and return the result of rank 0.

    The ranks are processes on this machine in one group of ``torch.distributed``. Each rank has as
    many threads as this process. All ranks end when this process ends or when one rank fails.

    Raises:
        StudyError: a rank died or failed. Errors of the user's code and a lack of memory are raised
            unchanged.
    """
    check_devices(devices)
    with tempfile.TemporaryDirectory(prefix="dropkit-ranks-") as name:
        folder = Path(name)
        with (folder / "call").open("wb") as file:
            pickle.dump((sys.path, torch.get_num_threads()), file)
            cloudpickle.dump((function, arguments), file)  # pickled by value if not importable
        ranks: list[subprocess.Popen[bytes]] = []
        try:
            ranks += [_start(folder, rank, devices) for rank in range(devices)]
            codes = _wait(ranks)
        finally:
            for process in ranks:
                process.kill()
                process.wait()
        if any(codes):
            raise _find_cause(
                folder, {rank: code for rank, code in enumerate(codes) if code}, devices
            )
        return pickle.loads((folder / "returned").read_bytes())  # type: ignore[no-any-return]


def _start(folder: Path, rank: int, ranks: int) -> subprocess.Popen[bytes]:
    with (folder / f"output-{rank}").open("wb") as output:
        words = [sys.executable, "-c", SERVE.format(__name__, ""), str(folder), str(os.getpid())]
        return subprocess.Popen(
            words,
            env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches only the driver, which ends the ranks
        )


def _wait(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Wait until all processes have ended or one has failed, and return their exit codes.

    The code of a process that still runs is 0.
    """
    while True:
        codes = [process.poll() for process in ranks]
        if any(codes) or None not in codes:
            return [code or 0 for code in codes]
        time.sleep(_LOOK)


def serve() -> None:
    """Run as a rank: call the function of `call_on_devices` and write its result to a file."""
    folder, driver = Path(sys.argv[1]), int(sys.argv[2])
    rank = Rank(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    end_with(driver)
    try:
        with (folder / "call").open("rb") as file:
            sys.path[:], threads = pickle.load(file)
            torch.set_num_threads(threads)
            function, arguments = pickle.load(file)
        if torch.cuda.is_available():
            torch.cuda.set_device(rank.rank)
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
            init_method=(folder / "meeting").as_uri(),
            rank=rank.rank,
            world_size=rank.ranks,
        )
        set_data_parallel(distributed.group.WORLD)  # each rank has different rows
        returned = function(rank, *arguments)
        if rank.rank == 0:
            (folder / "returned").write_bytes(cloudpickle.dumps(returned))
        distributed.destroy_process_group()
    except BaseException as error:
        _leave(folder / f"failed-{rank.rank}", error)
        os._exit(1)  # without waiting for ranks that wait for this rank
    os._exit(0)  # at once, because a normal shutdown takes seconds


def _leave(file: Path, error: BaseException) -> None:
    """Write an error to a file: as one line, followed by its pickle if that can be loaded."""
    line = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    try:
        content = cloudpickle.dumps(error)
        pickle.loads(content)
    except Exception:
        content = b""
    part = file.with_name(f"part-{file.name}")
    part.write_bytes(pickle.dumps((line, content)))
    part.replace(file)


def _find_cause(folder: Path, codes: dict[int, int], ranks: int) -> Exception:
    """Return the error of the rank that failed first; the other ranks fail because of it."""

    def name_rank(rank: int) -> str:
        return f"process {rank + 1} of the {ranks} that train together"

    met: dict[int, str] = {}
    for file in sorted(folder.glob("failed-*"), key=lambda file: file.stat().st_mtime_ns):
        line, content = pickle.loads(file.read_bytes())
        error: Exception | None = pickle.loads(content) if content else None
        if isinstance(error, StudyError) or (error is not None and is_out_of_memory(error)):
            return error
        met[int(file.name.partition("-")[2])] = line
    for rank, code in codes.items():
        if code < 0 and rank not in met:
            name = signal.Signals(-code).name
            return StudyError(f"{name_rank(rank)} was ended by {name}, perhaps for lack of memory")
    for rank, line in met.items():
        return StudyError(f"{name_rank(rank)} failed: {line}")
    rank, code = next(iter(codes.items()))
    output = (folder / f"output-{rank}").read_text(errors="replace").strip().splitlines()
    last = f": {output[-1]}" if output else ""
    return StudyError(f"{name_rank(rank)} ended with code {code}{last}")

"""Runs a study: every training once, side by side, resumed where it was left."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version

import joblib
import torch
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dropkit.study._errors import StudyError
from dropkit.study.data import Data
from dropkit.study.expression import parse
from dropkit.study.fold import Fold, make_fold
from dropkit.study.models import Factory, factory
from dropkit.study.progress import StudyProgress
from dropkit.study.results import DataInfo, Results, Run
from dropkit.study.store import RunFolder
from dropkit.study.study import Study
from dropkit.study.train import train
from dropkit.study.tune import TUNING_SEED, search


@dataclass(frozen=True)
class Job:
    """One training that is still to be done; ``trial`` numbers those of a search."""

    method: str
    seed: int
    chosen: dict[str, float]
    trial: int | None = None


def run(
    study: Study,
    data: Data,
    model: str | Factory,
    folder: RunFolder,
    info: DataInfo,
    *,
    jobs: int | None = None,
    show: bool = True,
    command: str = "",
) -> Results:
    """Do what is left of a study and return all of its results.

    Args:
        study: the configuration, with a number of epochs (see `with_epochs`).
        data: the rows.
        model: the built-in name, ``file.py:function`` or the function.
        folder: an open run folder.
        info: what `check` returned of this study.
        jobs: trainings side by side; ``None`` for as many as the cores allow. Results do not
            depend on it.
        show: whether progress goes to standard error.
        command: what repeats the study from a shell.
    """
    count = jobs or max(1, cores() // study.threads)
    everything = [(method, seed) for seed in range(study.seeds) for method in study.methods]
    done = {key: run for key in everything if (run := folder.load(*key)) is not None}
    trials = [
        folder.load(method, TUNING_SEED, trial) is not None
        for method in study.methods
        for trial in range(study.tune)
    ]
    total = len(everything) + len(trials)
    started = time.monotonic()
    with (
        StudyProgress(
            total, len(done) + sum(trials), data.task, study.methods, show=show
        ) as progress,
        workers(count, study.threads) as parallel,
    ):
        tuned = _tune(study, data, model, folder, parallel, progress)
        for finished in done.values():
            progress.known(finished)
        left = [
            Job(method, seed, tuned.get(method, {}))
            for method, seed in everything
            if (method, seed) not in done
        ]
        for finished in _train_all(left, study, data, model, folder, parallel):
            done[finished.method, finished.seed] = finished
            progress.finished(finished)
    results = Results(
        study=study.to_dict(),
        data=info,
        methods=study.methods,
        runs=tuple(done[method, seed] for method in study.methods for seed in range(study.seeds)),
        tuned=tuned,
        environment=environment(study.threads),
        command=command,
        timing={
            "finished": time.strftime("%Y-%m-%d %H:%M"),
            "seconds": f"{time.monotonic() - started:.1f}",
            "jobs": str(count),
        },
    )
    folder.finish(results)
    return results


def cores() -> int:
    """The processor cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def environment(threads: int) -> dict[str, str]:
    """Versions and hardware that the numbers may depend on."""
    packages = ("torch", "numpy", "lightning", "scikit-learn", "scipy", "optuna")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "dropkit": version("dropkit"),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(cores()),
        "threads per training": str(threads),
        "gpu": gpu,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor() or "unknown"
    except OSError:
        return platform.processor() or "unknown"


def _tune(
    study: Study,
    data: Data,
    model: str | Factory,
    folder: RunFolder,
    parallel: joblib.Parallel,
    progress: StudyProgress,
) -> dict[str, dict[str, float]]:
    """One trial of every method at a time, until each has had its number."""
    if not study.tune:
        return {}
    tuned: dict[str, dict[str, float]] = {}
    searches = {m: search(parse(m), study.lr, study.tune) for m in study.methods}
    asked = {method: next(trials) for method, trials in searches.items()}
    for number in range(study.tune):
        runs = {m: folder.load(m, TUNING_SEED, number) for m in asked}
        jobs = [Job(m, TUNING_SEED, asked[m], number) for m, run in runs.items() if run is None]
        for finished in _train_all(jobs, study, data, model, folder, parallel):
            runs[finished.method] = finished
            progress.finished(finished, f"{finished.method}, trial {number + 1}/{study.tune}")
        for method, finished_run in runs.items():
            assert finished_run is not None
            try:
                asked[method] = searches[method].send(finished_run)
            except StopIteration as stop:
                tuned[method] = stop.value
    return tuned


def _train_all(
    jobs: list[Job],
    study: Study,
    data: Data,
    model: str | Factory,
    folder: RunFolder,
    parallel: joblib.Parallel,
) -> Iterator[Run]:
    work = joblib.delayed(_work)
    yield from parallel(work(job, study, data, model, folder, os.getpid()) for job in jobs)


def _work(
    job: Job, study: Study, data: Data, model: str | Factory, folder: RunFolder, driver: int
) -> Run:
    """Train, keep the result, and only then return it."""
    serve(driver)
    torch.set_num_threads(study.threads)
    fold = _fold(_Same(data, study, job.seed))
    finished = train(
        study,
        factory(model, study.hidden),
        fold,
        job.method,
        job.seed,
        chosen=job.chosen,
        test=job.trial is None,
    )
    folder.save(finished, job.trial)
    return finished


def serve(driver: int) -> None:
    """Leave Ctrl-C to the driver, which handles it for all of its workers, and end with it."""
    if os.getpid() != driver:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        _end_with(driver)


@lru_cache(maxsize=1)
def _end_with(driver: int) -> None:
    """End this worker when its driver is gone: one that was killed cannot end its workers."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True, eq=False)
class _Same:
    """Arguments of a fold, equal when they give the same rows."""

    data: Data
    study: Study
    seed: int

    def _key(self) -> tuple[object, ...]:
        shares = (self.study.val_fraction, self.study.test_fraction)
        return self.data.fingerprint, self.seed, shares

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


@lru_cache(maxsize=1)
def _fold(same: _Same) -> Fold:
    return make_fold(same.data, same.study, same.seed)


@contextmanager
def workers(count: int, threads: int) -> Iterator[joblib.Parallel]:
    """Processes that work side by side, each with as many threads; they yield in any order."""
    before = torch.get_num_threads()
    try:
        with joblib.parallel_config("loky", inner_max_num_threads=threads):
            yield joblib.Parallel(n_jobs=count, return_as="generator_unordered")
    except KeyboardInterrupt:
        if count > 1:
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise
    except TerminatedWorkerError as error:
        raise StudyError(
            "a worker process was killed, perhaps for lack of memory; finished trainings are "
            "kept: run the same command again to go on, with fewer --jobs"
        ) from error
    finally:
        torch.set_num_threads(before)

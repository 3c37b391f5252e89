"""Run a study: do its runs in parallel, and resume it after an interruption."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import torch

import dropkit
from dropkit.errors import StudyError
from dropkit.study.analysis import analyze
from dropkit.study.analysis.decision import is_decided
from dropkit.study.analysis.words import count_repetitions
from dropkit.study.processes import count_cores
from dropkit.study.progress import StudyProgress, describe_trainings
from dropkit.study.record import DataInfo, Record, Run, Tuning
from dropkit.study.record.overlap import measure_overlap
from dropkit.study.record.predictions import Predictions, Tested
from dropkit.study.store.folder import Key, RunFolder
from dropkit.study.store.manifest import list_versions
from dropkit.study.training.guard import Failed
from dropkit.study.training.work import Job, Trains
from dropkit.study.tuning.median import limits
from dropkit.study.tuning.search import search
from dropkit.study.workers.protocol import Workers


def run(
    work: Trains,
    folder: RunFolder,
    info: DataInfo,
    workers: Workers,
    *,
    show: bool = True,
    command: str = "",
    tested: Tested | None = None,
) -> Record:
    """Do the remaining runs of a study and return the record of all its runs.

    If the study has ``until_decided``, the results are analyzed after each planned number of seeds,
    and the study ends when the verdict is certain. Only this process writes to the run folder.

    Args:
        work: does one run: it trains one method with one seed.
        folder: an open run folder.
        info: the description of the data for readers of the results.
        workers: the workers that train; they must be ready. Results do not depend on them.
        show: whether to print progress to standard error.
        command: the shell command that repeats the study.
        tested: the targets of the test rows, to save with the predictions; ``None`` if unknown.

    Raises:
        StudyError: a run failed; the other runs are done and saved.
    """
    first, *later = work.study.looks
    look = partial(
        _run_seeds, work, info=info, workers=workers, show=show, command=command, tested=tested
    )
    record = look(folder, seeds=first)
    for seeds in later:
        if is_decided(analyze(record)):
            break
        count = count_repetitions(record)
        have = "has" if count.startswith("1 ") else "have"
        before = f"{count} {have} not decided it: going on to {seeds}"
        record = look(folder.up_to(seeds), seeds=seeds, before=before)
    return record


def _run_seeds(
    work: Trains,
    folder: RunFolder,
    *,
    seeds: int,
    info: DataInfo,
    workers: Workers,
    show: bool,
    command: str,
    tested: Tested | None,
    before: str = "",
) -> Record:
    """Do the remaining runs of the first ``seeds`` seeds; write and return the whole record."""
    study = work.study
    names = study.method_names
    repetitions, seeds = seeds, study.count_runs(seeds)
    everything = [(name, seed, None) for seed in range(seeds) for name in names]
    trials = [(*key[:2], number) for key in everything for number in range(study.tune)]
    kept = folder.load_all([*everything, *trials])
    total = len(everything) + len(trials)
    started = time.monotonic()
    with StudyProgress(
        total, len(kept.runs), info.measure, names, folds=study.folds, show=show
    ) as progress:
        if before:
            progress.say(before)
        if study.folds is not None:
            progress.say(
                describe_trainings(len(names), repetitions, study.folds, trials=study.tune)
            )
        if not kept.runs:  # print surprises about the data before training
            for note in info.notes:
                progress.say(f"data: {note}")
        if kept.warning:
            progress.say(kept.warning)
        others = "; ".join(list_versions(folder.path)[:-1])
        if others and kept.runs:
            progress.say(
                f"some finished trainings were made with {others}: numbers may differ from those "
                "of the current versions"
            )
        left = _Remaining(work, folder, workers, progress, kept.runs)
        tuned = left.tune(seeds)
        left.train(
            Job(method, seed, tuned.get((str(method), seed), {}), folds=study.folds)
            for seed in range(seeds)
            for method in study.methods
            if (str(method), seed) in tuned or not study.tune
        )
        left.check()
        runs = left.done
        described = str(workers)
    seen = folder.history().add(names, repetitions)
    asked = [runs[name, seed, None] for name in names for seed in range(seeds)]
    record = Record(
        study=study.to_dict(),
        data=info,
        methods=names,
        runs=tuple(replace(run, predictions=None) for run in asked),
        tuned={name: tuple(tuned[name, seed] for seed in range(seeds)) for name in names}
        if tuned
        else {},
        tuning=_count_searches(work, info, runs, seeds) if tuned else {},
        environment=environment(study.threads) | ({"in part with": others} if others else {}),
        command=command,
        compared=seen.compared,
        looks=seen.looks,
        timing={
            "finished": time.strftime("%Y-%m-%d %H:%M"),
            "seconds": f"{time.monotonic() - started:.1f}",
            "jobs": described,
        },
        overlap=measure_overlap(info, study.folds),
    )
    if tested is not None and any(run.predictions for run in asked):
        Predictions.of(tested, asked).save(folder.path)
    folder.finish(record)
    return record


def _count_searches(
    work: Trains, info: DataInfo, runs: dict[Key, Run], seeds: int
) -> dict[str, Tuning]:
    """Count the trials and epochs of every method's searches."""
    study = work.study
    taken = {}
    for method in study.method_names:
        trials = [
            runs[method, seed, number] for seed in range(seeds) for number in range(study.tune)
        ]
        ended = [run.status for run in trials]
        taken[method] = Tuning(
            trials=len(trials),
            pruned=ended.count("pruned"),
            diverged=ended.count("diverged"),
            epochs=sum(work.count_epochs(run, info) for run in trials),
        )
    return taken


def environment(threads: int) -> dict[str, str]:
    """Return the software versions and the hardware that results may depend on."""
    packages = ("torch", "numpy", "scikit-learn", "scipy", "optuna")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "dropkit": dropkit.__version__,
        "python": platform.python_version(),
        **_versions(packages),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(count_cores()),
        "threads per training": str(threads),
        "gpu": gpu,
    }


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        with suppress(PackageNotFoundError):  # optuna is only needed for tuning
            found[package] = version(package)
    return found


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
        return names[0] if names else platform.processor() or "unknown"
    except OSError:
        return platform.processor() or "unknown"


@dataclass
class _Remaining:
    """The remaining runs of a study, given the runs that are done."""

    work: Trains
    folder: RunFolder
    workers: Workers
    progress: StudyProgress
    done: dict[Key, Run]
    tried: int = 0
    failed: list[tuple[Job, str]] = field(default_factory=list)

    def tune(self, seeds: int) -> dict[tuple[str, int], dict[str, float]]:
        """Tune every method for every seed, and return the best hyperparameters.

        Each seed has its own search on its validation rows, so that the variation between seeds
        includes the luck of a search. Trials that a search requests together run in parallel.
        Whether to prune a trial depends only on trials that ended before its request. If a
        trial fails, its search stops and returns no arguments.
        """
        study = self.work.study
        if not study.tune:
            return {}
        methods = dict(zip(study.method_names, study.methods, strict=True))
        searches = {
            (name, seed): search(self.work.searched(method), study.tune, seed=seed)
            for seed in range(seeds)
            for name, method in methods.items()
        }
        asked = {key: next(trials) for key, trials in searches.items()}
        tuned: dict[tuple[str, int], dict[str, float]] = {}
        told: dict[tuple[str, int], list[Run]] = {key: [] for key in searches}
        done = 0
        while done < study.tune and searches:
            count = len(asked[next(iter(searches))])  # the same for every search
            allowed = {
                key: limits(told[key], self.work.epochs) if study.prune else () for key in searches
            }
            self.train(
                Job(methods[key[0]], key[1], asked[key][i], done + i, allowed[key], study.folds)
                for i in range(count)
                for key in searches
            )
            for key in {job.key[:2] for job, _ in self.failed} & searches.keys():
                del searches[key]
            for key, trials in searches.items():
                ended = [self.done[*key, done + i] for i in range(count)]
                told[key] += ended
                try:
                    asked[key] = trials.send(ended)
                except StopIteration as stop:
                    tuned[key] = stop.value
            done += count
        return tuned

    def train(self, jobs: Iterable[Job]) -> None:
        """Do the jobs that are not done yet, and save each when it ends.

        A failed job does not stop the others.
        """
        todo: list[Job] = []
        changed: list[Job] = []
        for job in jobs:
            run = self.done.get(job.key)
            if run is None or not self._is_current(run, job):
                todo.append(job)
                changed += [job] if run else []
                continue
            if job.trial is None:
                self.progress.known(run)
        if changed:
            self.progress.again(
                len(changed),
                f"{len(changed)} finished trainings had other arguments than this study asks for "
                f"and are repeated; the first is {changed[0]}",
            )
        self.tried += len(todo)
        for job, outcome in self.workers.map(self.work, todo, self.progress.say):
            if isinstance(outcome, Failed):
                self.failed.append((job, outcome.reason))
                self.progress.say(f"{job}: {outcome.reason}")
                continue
            self.folder.save(outcome, job.trial)
            self.done[job.key] = outcome
            label = "" if job.trial is None else f"{job}/{self.work.study.tune}"
            self.progress.finished(outcome, label)

    def check(self) -> None:
        """Raise `StudyError` if a run failed."""
        if not self.failed:
            return
        first = "{}: {}".format(*self.failed[0])
        if len(self.failed) > 1:
            first = f"the first of {len(self.failed)} is {first}"
        searched = dict.fromkeys(str(job.method) for job, _ in self.failed if job.trial is not None)
        without = f", or leave out {', '.join(searched)}" if searched else ""
        raise StudyError(
            f"{len(self.failed)} of {self.tried} trainings failed ({first}); the others are "
            f"kept: repeat the command to resume{without}"
        )

    def _is_current(self, run: Run, job: Job) -> bool:
        """Return whether a finished run has the arguments that the job asks for.

        The arguments differ if the method's defaults or the search changed after the run.
        """
        wanted = self.work.arguments(job)
        return all(run.arguments.get(name, value) == value for name, value in wanted.items())

"""Find how many epochs are enough: the number at which doubling no longer helps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from dropkit.errors import StudyError
from dropkit.study.config import Study
from dropkit.study.progress import StudyProgress
from dropkit.study.record import DataInfo, Run
from dropkit.study.store.folder import RunFolder
from dropkit.study.training.guard import Failed
from dropkit.study.training.work import Job, Work
from dropkit.study.workers.protocol import Workers

HELPS = 0.02
"""Doubling the epochs helps a method if its validation loss falls by more than this share."""

LONGEST = 8
"""The largest budget to try, as a multiple of the first budget."""


def find_epochs(
    study: Study,
    work_on: Callable[[Study], Work],
    folder: RunFolder,
    info: DataInfo,
    workers: Workers,
    *,
    show: bool = True,
) -> tuple[int, str]:
    """Double the epochs until doubling lowers no method's validation loss by more than 2 %.

    Each budget is tried with every method and one seed. Every budget trains from the start, because
    the learning-rate schedule depends on the number of epochs. Test rows are not used. These runs
    are kept in the run folder and are not repeated when a study is resumed.

    Args:
        study: the settings; its epochs are the first budget.
        work_on: maps the settings of a study to the object that does its runs.
        folder: the study's open run folder.
        info: the description of the data for readers of the results.
        workers: the workers that train; they must be ready.
        show: whether to print progress to standard error.

    Returns:
        The number of epochs for all methods, and a sentence that says how it was found.

    Raises:
        StudyError: a run failed.
    """
    first = epochs = study.epochs or 1
    losses = _try_budget(study, epochs, work_on, folder, info, workers, show)
    while epochs < LONGEST * first:
        longer = _try_budget(study, 2 * epochs, work_on, folder, info, workers, show)
        gained = [name for name in losses if longer[name] < (1 - HELPS) * losses[name]]
        if not gained:
            return epochs, (
                f"all methods train for {epochs} epochs: {2 * epochs} lower no method's validation "
                f"loss by more than {HELPS:.0%}"
            )
        epochs, losses = 2 * epochs, longer
    return epochs, (
        f"all methods train for {epochs} epochs, the most that --until-converged tries; "
        f"{', '.join(gained)} may gain from more: start from --epochs {epochs}"
    )


def _try_budget(
    study: Study,
    epochs: int,
    work_on: Callable[[Study], Work],
    folder: RunFolder,
    info: DataInfo,
    workers: Workers,
    show: bool,
) -> dict[str, float]:
    """Return every method's validation loss after ``epochs`` epochs; infinite if it diverged."""
    # Run as the first trial of a search, because a trial never scores test rows.
    study = replace(
        study,
        epochs=epochs,
        until_converged=False,
        seeds=1,
        until_decided=False,
        max_seeds=None,
        tune=1,
        prune=False,
    )
    there = RunFolder(folder.path / "budgets" / str(epochs), study, folder.fingerprint)
    names = study.method_names
    failed: list[str] = []
    with there.opened():
        done = there.load_all([(name, 0, 0) for name in names]).runs
        left = [Job(each, 0, {}, 0) for each in study.methods if (str(each), 0, 0) not in done]
        with StudyProgress(len(names), len(done), info.measure, names, show=show) as progress:
            if left:
                progress.say(f"budget of {epochs} epochs, one seed:")
            for job, outcome in workers.map(work_on(study), left, progress.say):
                if isinstance(outcome, Failed):
                    failed.append(f"{job.method} with {epochs} epochs: {outcome.reason}")
                    continue
                there.save(outcome, job.trial)
                done[job.key] = outcome
                progress.finished(outcome, f"{job.method}, {epochs} epochs")
    if failed:
        raise StudyError(
            f"the number of epochs cannot be found ({failed[0]}); give --epochs and leave out "
            "--until-converged"
        )
    return {name: _loss(done[name, 0, 0]) for name in names}


def _loss(run: Run) -> float:
    return math.inf if run.val is None else run.val.known_loss

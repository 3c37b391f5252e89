"""Choose the workers of a prepared study, and run it."""

from __future__ import annotations

from dataclasses import replace

from dropkit._mode import on_cpu
from dropkit.errors import StudyError
from dropkit.study import run as engine
from dropkit.study.budget import find_epochs
from dropkit.study.config import Study
from dropkit.study.data import StreamedData
from dropkit.study.execution import Execution
from dropkit.study.plan import Plan
from dropkit.study.prepare import Prepared
from dropkit.study.processes import count_cores
from dropkit.study.results import Results
from dropkit.study.rows import save_rows
from dropkit.study.training.devices import check_devices
from dropkit.study.training.folds import forget_fold
from dropkit.study.training.work import Work
from dropkit.study.workers.cluster import RayWorkers
from dropkit.study.workers.local import LocalWorkers
from dropkit.study.workers.portable import portable
from dropkit.study.workers.protocol import Workers


def choose_workers(study: Plan, execution: Execution) -> Workers:
    """Return workers on this machine or, if ``ray`` is set, on a Ray cluster."""
    together, gpus = study.threads * study.devices, execution.gpus_per_run
    if execution.ray is None:
        check_devices(study.devices)
        return LocalWorkers(execution.jobs or max(1, count_cores() // together), study.threads)
    if gpus and study.devices not in (1, gpus):
        raise StudyError(f"gpus-per-run must equal devices={study.devices}, got {gpus:g}")
    cpus = together if execution.cpus_per_run is None else execution.cpus_per_run
    return RayWorkers(execution.ray, cpus, gpus or 0)


@on_cpu()
def run_prepared(
    prepared: Prepared,
    workers: Workers,
    execution: Execution,
    *,
    show: bool = True,
    keep: bool = False,
) -> Results:
    """Do the runs that the run folder lacks, and write the results into the folder.

    ``show`` prints progress to standard error; ``keep`` saves the rows in the run folder.
    """
    if execution.ray is not None and isinstance(prepared.data, StreamedData):
        raise StudyError("data that are read in pieces are only on this machine; remove --ray")
    model = prepared.model if execution.ray is None else portable(prepared.model)
    study, info = prepared.study, prepared.info

    def work_on(study: Study) -> Work:
        return Work(study, prepared.data, model, execution.time_limit, info.inputs)

    if not (isinstance(workers, LocalWorkers) and workers.count == 1):
        forget_fold()
    with workers, prepared.folder.opened():
        if keep:
            save_rows(prepared.data, prepared.folder.path)
        if study.until_converged:
            epochs, note = find_epochs(study, work_on, prepared.folder, info, workers, show=show)
            study = replace(study, epochs=epochs)
            info = replace(info, notes=(*info.notes, note))
        record = engine.run(
            work_on(study),
            prepared.folder,
            info,
            workers,
            show=show,
            command=prepared.command,
            tested=prepared.tested,
        )
    return Results(record)

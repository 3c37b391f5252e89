"""Define the settings for where and how long a study runs, which do not affect results."""

from __future__ import annotations

import math
import signal
from dataclasses import dataclass

from dropkit.errors import StudyError


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Settings for where and how long the runs of a study execute.

    Args:
        jobs: number of parallel runs; by default as many as the cores allow.
        time_limit: minutes after which a run is stopped; the study continues without it.
        ray: a Ray cluster to train on: ``auto``, or ``host:port`` of its head node.
        cpus_per_run: cores that each run reserves on the cluster; by default as many as it has
            threads.
        gpus_per_run: GPUs that each run reserves on the cluster, or a fraction of one.

    Raises:
        StudyError: a value is out of range, or two settings exclude each other.
    """

    jobs: int | None = None
    time_limit: float | None = None
    ray: str | None = None
    cpus_per_run: float | None = None
    gpus_per_run: float | None = None

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise StudyError(f"jobs must be 1 or more, got {self.jobs}")
        if self.time_limit is not None:
            if not 0 < self.time_limit < math.inf:
                raise StudyError(
                    f"the time limit must be a number of minutes above 0, got {self.time_limit}"
                )
            if not hasattr(signal, "SIGALRM"):
                raise StudyError(
                    "a time limit needs POSIX signals, which this system does not have"
                )
        if self.ray is None and (self.cpus_per_run is not None or self.gpus_per_run is not None):
            raise StudyError("cpus-per-run and gpus-per-run are for a Ray cluster; add --ray")
        if self.ray is not None and self.jobs is not None:
            raise StudyError("--jobs is only for this machine; on a Ray cluster use --cpus-per-run")

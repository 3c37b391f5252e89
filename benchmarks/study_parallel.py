"""How much faster two workers train, on one machine and on a Ray cluster of two nodes.

Parallel efficiency, the seconds of one worker divided by twice those of two, of a study whose
trainings take five seconds and more, one thread each, from the start of the workers to the results;
and where the time of two workers goes, free of the machine's changes of speed: into trainings, each
from its network to its scores, into a worker's start before its first, the gaps between two, and
its wait for the other one's last. Both nodes of the cluster are on this machine, whose cores they
share with Ray's own processes. And what one training costs the process that hands trainings out to
the cluster and keeps their results, measured with trainings that do nothing.

    python benchmarks/study_parallel.py [--trainings N] [--json FILE]
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from unittest.mock import patch

import numpy as np
import psutil
from ray.cluster_utils import Cluster
from side_by_side import measured_on
from study_scale import made_up

from dropkit.study import Run, compare
from dropkit.study.training.guard import Failed
from dropkit.study.training.work import Job, Work
from dropkit.study.workers.cluster import RayWorkers

TRIVIAL = 2000
SETTLE = 15  # seconds: the processes of a cluster start after its nodes have joined
NOTES = Path(tempfile.mkdtemp()) / "trainings"


class Noted(Work):
    """Writes down in which process a training began and ended, and when."""

    def __call__(self, job: Job) -> Run | Failed:
        start = time.time()
        outcome = Work.__call__(self, job)
        with NOTES.open("a") as file:
            file.write(f"{os.getpid()} {start} {time.time()}\n")
        return outcome


def study(trainings: int, workers: str, **settings: object) -> tuple[float, dict[str, float]]:
    """Return the seconds that a study takes, and the rows that say where they go."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 256)).astype(np.float32)
    NOTES.write_text("")
    start = time.time()
    with patch.dict(compare.__globals__, Work=Noted):
        results = compare(
            X,
            (X[:, 0] > 0).astype(int),
            methods="none,dropout",
            seeds=trainings // 2,
            epochs=16,
            hidden=(1024, 1024),
            progress=True,
            **settings,
        )
    end = time.time()
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in NOTES.read_text().splitlines():
        process, *span = line.split()
        spans[process].append((float(span[0]), float(span[1])))
    each = list(spans.values())
    gaps = [after[0] - before[1] for of in each for before, after in pairwise(of)]
    at_work = sum(last - first for of in each for first, last in of)
    return end - start, {
        f"{workers}, s": end - start,
        f"shortest training of {workers}, s": min(run.timing.seconds for run in results.runs),
        f"mean training of {workers}, s": fmean(run.timing.seconds for run in results.runs),
        f"share of time at work of {workers}": at_work / (len(each) * (end - start)),
        f"start to first training of {workers}, s": fmean(of[0][0] - start for of in each),
        f"mean gap between trainings of {workers}, ms": 1e3 * fmean(gaps),
        f"longest gap between trainings of {workers}, ms": 1e3 * max(gaps),
        f"last training to end of {workers}, s": fmean(end - of[-1][1] for of in each),
    }


def processor_seconds() -> dict[int, float]:
    """Return what each process that this one has started took so far."""
    taken = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            taken[process.pid] = sum(process.cpu_times()[:2])
    return taken


def per_training(address: str) -> float:
    """Milliseconds of the driver for a training whose result is of the usual size."""
    result = made_up("dropout(p=0.01)", 0)
    with RayWorkers(address, cpus=0.5) as workers:  # four at a time
        list(workers.map(lambda _: result, range(200)))
        start = time.perf_counter()
        list(workers.map(lambda _: result, range(TRIVIAL)))
        return 1e3 * (time.perf_counter() - start) / TRIVIAL


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trainings", type=int, default=200, help="an even number")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    one, alone = study(chosen.trainings, "one worker", jobs=1)
    two, beside = study(chosen.trainings, "two workers", jobs=2)
    # Only now, since a cluster's own processes take some of the cores that two workers need.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    time.sleep(SETTLE)
    before = processor_seconds()
    ray, apart = study(chosen.trainings, "two nodes", ray=cluster.address)
    after = processor_seconds()  # those that trained have ended
    own = sum(after[process] - before[process] for process in before.keys() & after.keys())
    rows = {
        "trainings": chosen.trainings,
        **alone,
        **beside,
        **apart,
        "efficiency of two workers": one / (2 * two),
        "efficiency of two nodes": one / (2 * ray),
        "share of both cores that Ray's own processes took": own / (2 * ray),
        "handing out one training, ms": per_training(cluster.address),
    }
    cluster.shutdown()
    print(json.dumps(rows, indent=2))
    if chosen.json:
        record = {"claim": __doc__, "measured_on": measured_on(), "rows": rows}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

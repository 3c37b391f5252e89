"""How much faster two workers train, on one machine and on a Ray cluster of two nodes.

Parallel efficiency, the seconds of one worker divided by twice those of two, of a study whose
trainings take five seconds and more, one thread each, from the start of the workers to the results;
and the share of that time which workers spend in trainings, free of the machine's changes of speed.
Both nodes of the cluster are on this machine. And what one training costs the process that hands
trainings out to the cluster and keeps their results, measured with trainings that do nothing.

    python benchmarks/study_parallel.py [--trainings N] [--json FILE]
"""

import argparse
import json
import time
from pathlib import Path
from statistics import fmean

import numpy as np
from ray.cluster_utils import Cluster
from side_by_side import measured_on
from study_scale import made_up

from dropkit.study import Results, compare
from dropkit.study.cluster import RayWorkers

TRIVIAL = 2000


def seconds(trainings: int, **workers: object) -> tuple[float, Results]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 256)).astype(np.float32)
    start = time.perf_counter()
    results = compare(
        X,
        (X[:, 0] > 0).astype(int),
        methods="none,dropout",
        seeds=trainings // 2,
        epochs=28,
        hidden=(1024, 1024),
        progress=True,
        **workers,
    )
    return time.perf_counter() - start, results


def at_work(results: Results) -> float:
    """Return the seconds that a study's trainings took."""
    return sum(run.timing.seconds for run in results.runs)


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
    parser.add_argument("--trainings", type=int, default=60, help="an even number")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    one, results = seconds(chosen.trainings, jobs=1)
    two, beside = seconds(chosen.trainings, jobs=2)
    # Only now, since a cluster's own processes take some of the cores that two workers need.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray, apart = seconds(chosen.trainings, ray=cluster.address)
    rows = {
        "trainings": chosen.trainings,
        "shortest training, s": min(run.timing.seconds for run in results.runs),
        "mean training alone, s": fmean(run.timing.seconds for run in results.runs),
        "mean training beside another, s": fmean(run.timing.seconds for run in beside.runs),
        "one worker, s": one,
        "two workers, s": two,
        "two nodes, s": ray,
        "efficiency of two workers": one / (2 * two),
        "efficiency of two nodes": one / (2 * ray),
        "share of time at work of two workers": at_work(beside) / (2 * two),
        "share of time at work of two nodes": at_work(apart) / (2 * ray),
        "handing out one training, ms": per_training(cluster.address),
    }
    cluster.shutdown()
    print(json.dumps(rows, indent=2))
    if chosen.json:
        record = {"claim": __doc__, "measured_on": measured_on(), "rows": rows}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

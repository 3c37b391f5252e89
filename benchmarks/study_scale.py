"""Claim: with 10,000 finished trainings, keeping one costs < 5 ms, finding them again < 10 s.

Twenty methods and 500 seeds of made-up trainings with 20 epochs and 360 test rows: the time to
keep one, to find all of them again as a study that is resumed does, and to write the report; and
the most memory that was used, against that of a tenth of the trainings.

    python benchmarks/study_scale.py [--runs N] [--json FILE]
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from itertools import product
from pathlib import Path

import numpy as np
from side_by_side import measured_on

from dropkit.study import compare, report
from dropkit.study.record import Curve, Run, Scores, Timing, pack_rows
from dropkit.study.store.folder import RunFolder

METHODS = tuple(f"dropout(p={p / 100:g})" for p in range(1, 21))
EPOCHS, ROWS = 20, 360


def made_up(method: str, seed: int) -> Run:
    rng = np.random.default_rng([seed, METHODS.index(method)])
    falling = tuple(float(v) for v in np.sort(rng.random(EPOCHS))[::-1])
    scores = Scores(float(rng.random()), float(rng.random()), float(rng.random()))
    return Run(
        method=method,
        seed=seed,
        status="finished",
        steps=200,
        selected_epoch=EPOCHS,
        arguments={"lr": 0.1, "dropout.p": (METHODS.index(method) + 1) / 100},
        curve=Curve(tuple(range(10, 10 * EPOCHS + 1, 10)), falling, falling, falling),
        train=scores,
        val=scores,
        test=scores,
        row_errors=pack_rows((rng.random(ROWS) < 0.1).astype(float), "classification"),
        timing=Timing(1.0, 0.005, falling),
    )


def measure(runs: int) -> dict[str, float]:
    rows = np.random.default_rng(0).normal(size=(5 * ROWS, 4)).astype(np.float32)
    labels = np.arange(len(rows)) % 2
    seeds = runs // len(METHODS)
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        settings = {"epochs": EPOCHS, "hidden": (4,)}
        # One training makes the folder; its settings and fingerprint serve the others.
        compare(rows, labels, methods=METHODS[:1], seeds=1, out=out, jobs=1, **settings)
        folder = RunFolder.of(out)
        kept = 0.0
        for method, seed in product(METHODS, range(seeds)):
            training = made_up(method, seed)
            start = time.perf_counter()
            folder.save(training)
            kept += time.perf_counter() - start
        start = time.perf_counter()
        results = compare(rows, labels, methods=METHODS, seeds=seeds, out=out, jobs=1, **settings)
        found = time.perf_counter() - start
        assert all(run.timing.seconds == 1.0 for run in results.runs), "one was trained"
        start = time.perf_counter()
        report.write(results.analysis, out)
        written = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "trainings": runs,
        "keep one, ms": 1e3 * kept / runs,
        "find all, s": found,
        "report, s": written,
        "most memory, MiB": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    apart = multiprocessing.get_context("spawn")
    measured = []
    for runs in (chosen.runs // 10, chosen.runs):
        with apart.Pool(1) as pool:  # each in a process of its own, for the memory
            measured.append(pool.apply(measure, (runs,)))
        print(measured[-1])
    if chosen.json:
        record = {"claim": __doc__, "measured_on": measured_on(), "rows": measured}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

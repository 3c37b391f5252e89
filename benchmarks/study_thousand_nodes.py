"""What 1,000 nodes would be held up by: the process that hands out trainings and keeps results.

A simulation of events: every slot of the cluster takes a training, works on it, and hands its
result to the driver, which takes one result at a time, keeps it and hands out the next training.
The driver's time for one is what study_parallel.py and study_scale.py measured. Printed is the
share of time in which the slots work, for trainings of several lengths, and what the rows and the
results need.

    python benchmarks/study_thousand_nodes.py [--json FILE]
"""

import argparse
import heapq
import json
import math
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
SLOTS = 16  # of a node
ROUNDS = 20  # trainings of each slot
ROW_BYTES, BANDWIDTH = 200e6, 1e9  # rows of a study; bytes per second between two nodes
TRAINING_BYTES = 3.5e3  # of a result in the driver's memory


def efficiency(nodes: int, length: float, driver: float) -> float:
    """The share of time in which slots work, with lengths 10 % apart."""
    slots = nodes * SLOTS
    rng = np.random.default_rng(0)
    lengths = iter(length * rng.uniform(0.9, 1.1, size=slots * ROUNDS))
    free = 0.0  # when the driver is next
    ends: list[float] = []
    for _ in range(slots):  # handed out one after the other
        free += driver
        heapq.heappush(ends, free + next(lengths))
    while ends:
        end = heapq.heappop(ends)
        free = max(free, end) + driver
        if (work := next(lengths, None)) is not None:
            heapq.heappush(ends, free + work)
    return float(ROUNDS * length / free)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    measured = json.loads((RESULTS / "study_parallel.json").read_text())["rows"]
    kept = json.loads((RESULTS / "study_scale.json").read_text())["rows"][-1]["keep one, ms"]
    driver = (measured["handing out one training, ms"] + kept) / 1e3
    print(f"the driver takes {1e3 * driver:.2f} ms for each training, {1 / driver:.0f} a second")
    rows = []
    for nodes in (2, 10, 100, 1000):
        for length in (5.0, 60.0, 600.0):
            rows.append(
                {
                    "nodes": nodes,
                    "training, s": length,
                    "efficiency": efficiency(nodes, length, driver),
                    "driver's limit, trainings per second": 1 / driver,
                    "asked, trainings per second": nodes * SLOTS / length,
                }
            )
            print(rows[-1])
    needs = {
        # Every node that has the rows can send them on: the number that have them doubles.
        "rows to 1,000 nodes, s": ROW_BYTES / BANDWIDTH * math.ceil(math.log2(1000)),
        "results of 320,000 trainings in the driver, GB": 320_000 * TRAINING_BYTES / 1e9,
    }
    print(needs)
    if chosen.json:
        record = {"claim": __doc__, "driver, ms": 1e3 * driver, "rows": rows, "needs": needs}
        chosen.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

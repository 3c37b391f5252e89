"""Claim: data that are read in pieces take hardly more memory when they have more rows.

Each row of the table is a process of its own that compares the baseline with itself for one epoch
(or inspects the data), and the most memory that it ever held. What a process holds before it reads
anything, torch and the other libraries, is in it. Ten million rows take a while: ``--rows`` and
``--images`` say how many. Processes that run side by side do not change each other's memory.

    python benchmarks/streaming.py [--rows N,N] [--images N,N] [--at-once N] [--jobs N]
                                   [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image
from side_by_side import report

COLUMNS, PIECE, SIDE = 12, 250_000, 32

RUN = """
import json, resource, sys, time
from dropkit.study import compare, inspect
path, action, stream = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
settings = dict(methods="none", seeds=1, epochs=1, hidden=(16,), batch_size=1024, jobs=1)
if action == "compare":
    compare(path, stream=stream, **settings)
else:
    inspect(path, stream=stream)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"peak MiB": round(peak), "processor s": round(time.process_time(), 1)}))
"""


def write_table(path: Path, rows: int) -> int:
    """Write numbers, some missing, categories and a class that depends on them; return the MiB."""
    rng = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        columns: dict[str, object] = {f"x{i}": rng.normal(size=count) for i in range(COLUMNS - 3)}
        columns["gaps"] = np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count))
        columns["town"] = rng.choice([f"town {i}" for i in range(20)], count)
        columns["target"] = (columns["x0"] + rng.normal(size=count) > 0).astype(np.int64)
        table = pyarrow.table(columns)
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path.stat().st_size >> 20


def write_images(path: Path, images: int) -> int:
    """Write images of two classes, brighter and darker; return the MiB of their pixels."""
    rng = np.random.default_rng(0)
    for kind in range(2):
        (path / str(kind)).mkdir(parents=True)
        for i in range(images // 2):
            pixels = rng.integers(40 * kind, 200 + 40 * kind, (SIDE, SIDE, 3), np.uint8)
            Image.fromarray(pixels).save(path / str(kind) / f"{i}.bmp")
    return 3 * SIDE**2 * images >> 20


def measure(path: Path, action: str, stream: bool) -> dict[str, object]:
    words = [sys.executable, "-c", RUN, str(path), action, str(stream)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def measure_all(kind: str, count: int, at_once: int) -> list[dict[str, object]]:
    """Write data of one size, and compare and inspect them side by side."""
    ways = [("compare", True), ("inspect", True)] + [("compare", False)] * (count <= at_once)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        path = Path(folder) / ("table.parquet" if kind == "Parquet" else "images")
        size = (write_table if kind == "Parquet" else write_images)(path, count)
        found = pool.map(lambda way: measure(path, *way), ways)
        return [
            {"data": kind, "rows": count, "MiB": size, "command": action}
            | {"read": "in pieces" if stream else "at once"}
            | each
            for (action, stream), each in zip(ways, found, strict=True)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="500000,2000000,10000000")
    parser.add_argument("--images", default="4000,16000,64000")
    parser.add_argument("--at-once", type=int, default=2_000_000, help="at most, read at once too")
    parser.add_argument("--jobs", type=int, default=1, help="sizes at a time")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sizes = [("Parquet", int(n)) for n in arguments.rows.split(",")]
    sizes += [("images", int(n)) for n in arguments.images.split(",")]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = pool.map(lambda size: measure_all(*size, arguments.at_once), sizes)
        report(__doc__ or "", [row for rows in found for row in rows], arguments.json)


if __name__ == "__main__":
    main()

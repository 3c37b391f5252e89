"""Claim: a table of 100,000 rows and 50 columns of all kinds is inspected in under 10 seconds.

Reading the file, deciding every column, and the table of the columns; seconds of processor time on
one thread, which other work beside it does not lengthen, without the imports. With ``--libraries``
also: of how many columns of the test suite's messy tables pandas, Polars and skrub make what a
person would, beside dropkit, whose rules were written with these tables at hand.

    python benchmarks/inspect_table.py [--json FILE] [--libraries]
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from side_by_side import measured_on

from dropkit.study import inspect

ROWS = 100_000


def make_table() -> pd.DataFrame:
    """50 columns: numbers, money, dates, categories, codes, lists, text, identifiers."""
    rng = np.random.default_rng(0)
    columns: dict[str, object] = {}
    for i in range(10):
        columns[f"measured {i}"] = rng.normal(size=ROWS).round(6)
        columns[f"kind {i}"] = rng.choice([f"w{j}" for j in range(5 + 10 * i)], ROWS)
    for i in range(8):
        columns[f"count {i}"] = rng.integers(0, 10**6, ROWS)
    for i in range(6):
        columns[f"money {i}"] = [f"${v:,.2f}" for v in rng.uniform(1, 1e5, ROWS)]
    for i in range(4):
        seconds = pd.to_timedelta(rng.integers(0, 3 * 10**8, ROWS), unit="s")
        columns[f"day {i}"] = (pd.Timestamp("2015-01-01") + seconds).strftime("%d.%m.%Y %H:%M:%S")
    for i in range(3):
        columns[f"postal {i}"] = [f"{v:05}" for v in rng.integers(0, 99999, ROWS)]
    for i in range(2):
        held = rng.choice(list("abcde"), (ROWS, 3))
        columns[f"tags {i}"] = ["|".join(dict.fromkeys(row)) for row in held]
        words = rng.choice(["lorem", "ipsum", "dolor", "sit", "amet", "do"], (ROWS, 8))
        columns[f"text {i}"] = [" ".join(row) for row in words]
        columns[f"user {i}"] = [f"user-{v}" for v in rng.permutation(ROWS)]
        columns[f"flag {i}"] = rng.choice(["yes", "no"], ROWS)
    columns["target"] = rng.choice(["p", "q"], ROWS)
    return pd.DataFrame(columns)


def count_right() -> dict[str, dict[str, int]]:
    """Columns that each library reads as a person would, by their kind, and how many there are."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import polars
    import skrub

    from helpers.messy import tables

    right: dict[str, Counter[str]] = {
        n: Counter() for n in ("pandas", "polars", "skrub", "dropkit")
    }
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for table in tables():
            path = table.write(Path(folder))
            by_pandas = pd.read_csv(path, sep=table.separator)
            cleaned = skrub.Cleaner().fit_transform(by_pandas)
            by_polars = polars.read_csv(
                path, separator=table.separator, try_parse_dates=True, infer_schema_length=None
            )
            target = list(table.columns)[-1]
            ours = {column.name: column.kind for column in inspect(path, target=target).columns}
            for name, kind in table.kinds.items():
                if kind in ("constant", "empty", "duplicate", "row number", "identifier", "text"):
                    continue  # what is to be left out is no matter of reading
                total[kind] += 1
                right["pandas"][kind] += _kind_of(str(by_pandas[name].dtype)) == kind
                right["skrub"][kind] += (
                    name in cleaned and _kind_of(str(cleaned[name].dtype)) == kind
                )
                right["polars"][kind] += _kind_of(str(by_polars[name].dtype)) == kind
                right["dropkit"][kind] += ours[name] == kind
    return {"columns": dict(total)} | {name: dict(found) for name, found in right.items()}


def _kind_of(dtype: str) -> str:
    dtype = dtype.lower()
    for start, kind in (
        ("int", "number"), ("uint", "number"), ("float", "number"), ("bool", "boolean"),
        ("date", "date"), ("timedelta", "duration"), ("duration", "duration"), ("time", "time"),
        ("list", "list"),
    ):  # fmt: skip
        if dtype.startswith(start):
            return kind
    return "category"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--libraries", action="store_true")
    arguments = parser.parse_args()
    table = make_table()
    inspect(table.head(100), "target")  # imports
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        table.to_csv(path, index=False)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            found = inspect(path)
            seconds.append(round(time.process_time() - start, 2))
    kinds = dict(Counter(column.kind for column in found.columns))
    result = {"rows": ROWS, "columns": table.shape[1], "seconds": seconds, "kinds": kinds}
    if arguments.libraries:
        result["libraries"] = count_right()
    result["measured on"] = measured_on()
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if min(seconds) >= 10:
        raise SystemExit("the table took 10 seconds or more")


if __name__ == "__main__":
    main()

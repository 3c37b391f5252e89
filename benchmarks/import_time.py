"""Claim: importing dropkit adds less than 150 ms to importing torch.

python benchmarks/import_time.py [--runs 11]
"""

import argparse
import statistics
import subprocess
import sys

CODE = """
import time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import dropkit
print(middle - start, time.perf_counter() - middle)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=11)
    torch_seconds, dropkit_seconds = [], []
    for _ in range(parser.parse_args().runs):
        run = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
        )
        first, second = map(float, run.stdout.split())
        torch_seconds.append(first)
        dropkit_seconds.append(second)
    print(f"import torch: median {1e3 * statistics.median(torch_seconds):.0f} ms")
    print(f"import dropkit after it: median {1e3 * statistics.median(dropkit_seconds):.0f} ms")


if __name__ == "__main__":
    main()

"""Claim: `dropkit compare` takes at most 1.5 times its trainings by a bare loop, start included.

``dropkit compare digits --methods none,dropout --seeds 2`` as a whole, from the shell to the
report, against the same four trainings by a bare PyTorch loop, two side by side; the latter
without starting Python. In turn, one thread each; the ratio is of wall-clock seconds.

    python benchmarks/study_command.py [--pairs 5] [--json FILE]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from side_by_side import report

COMMAND = "compare digits --methods none,dropout --seeds 2"

BARE = """
import sys, time, torch, torch.nn.functional as F
from torch import nn
from sklearn.datasets import load_digits

torch.set_num_threads(1)
drops = int(sys.argv[1])
x, y = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
x = (x / 16).float()[:1077]
y = y[:1077]
SETTLE
sys.stdin.readline()
start = time.perf_counter()
for seed in range(2):
    torch.manual_seed(seed)
    layer = (lambda p: [nn.Dropout(p)]) if drops else (lambda p: [])
    net = nn.Sequential(
        *layer(0.2), nn.Linear(64, 512), nn.ReLU(), *layer(0.5),
        nn.Linear(512, 512), nn.ReLU(), *layer(0.5), nn.Linear(512, 10),
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(100):
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            net.eval()(x[:359])
        net.train()
print(time.perf_counter() - start)
""".replace("SETTLE", "torch.optim.SGD([torch.zeros(1)], lr=0.1)  # imports the compiler")


def command_seconds() -> float:
    """The command in a new folder, from the shell's view."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        words = [sys.executable, "-m", "dropkit", *COMMAND.split()]
        subprocess.run(words, cwd=folder, check=True, capture_output=True)
        return time.perf_counter() - start


def bare_seconds() -> float:
    """Two bare loops side by side, each with two trainings, once both are ready."""
    loops = [
        subprocess.Popen(
            [sys.executable, "-c", BARE, str(drops)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for drops in (0, 1)
    ]
    time.sleep(15)  # until both have imported what they need
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("\n")
        loop.stdin.flush()
    return max(float(loop.communicate()[0]) for loop in loops)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    options = parser.parse_args()
    taken = []
    for pair in range(options.pairs):
        taken.append((command_seconds(), bare_seconds()))
        print(f"pair {pair + 1}: command {taken[-1][0]:.1f} s, bare loops {taken[-1][1]:.1f} s")
    ratios = [whole / bare for whole, bare in taken]
    row = {
        "command, s": statistics.median(whole for whole, _ in taken),
        "four trainings by a bare loop, two side by side, s": statistics.median(
            bare for _, bare in taken
        ),
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "asked": 1.5,
    }
    report(__doc__, [row], options.json)


if __name__ == "__main__":
    main()

"""Time contestants alternately within one run, and print and keep the ratios."""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import dropkit
from dropkit.random import backend

CPU = torch.device("cpu")
_AT_ONCE = 20  # on a GPU, which works behind the program that feeds it


def wait(device: torch.device) -> None:
    """Let a GPU finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def times(
    contestants: Mapping[str, Callable[[], None]],
    repeats: int,
    device: torch.device = CPU,
) -> dict[str, float]:
    """Return the median seconds of each contestant; they take turns, so that load hits all.

    On a GPU a turn is twenty runs, one after the other, and the end of the last.
    """
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    runs = _AT_ONCE if device.type == "cuda" else 1
    for repeat in range(repeats + 3):
        for name, run in contestants.items():
            start = time.perf_counter()
            for _ in range(runs):
                run()
            wait(device)
            if repeat >= 3:  # the first rounds warm up
                taken[name].append((time.perf_counter() - start) / runs)
    return {name: statistics.median(values) for name, values in taken.items()}


def forward_backward(
    operation: Callable[[torch.Tensor], torch.Tensor],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device = CPU,
) -> Callable[[], None]:
    """Return a timed run of the operation and its gradient on random data."""
    x = torch.randn(shape, device=device).to(dtype).requires_grad_()
    grad = torch.randn(shape, device=device).to(dtype)

    def run() -> None:
        x.grad = None
        operation(x).backward(grad)

    return run


def mlp(layer: Callable[[float], nn.Module], hidden: int = 1024) -> nn.Sequential:
    """Return 784-hidden-hidden-10 with dropout layers of rates 0.2 at the input and 0.5."""
    return nn.Sequential(
        *(layer(0.2), nn.Linear(784, hidden), nn.ReLU()),
        *(layer(0.5), nn.Linear(hidden, hidden), nn.ReLU()),
        *(layer(0.5), nn.Linear(hidden, 10)),
    )


def training_step(
    model: nn.Module, shape: tuple[int, ...], optimizer: torch.optim.Optimizer
) -> Callable[[], None]:
    """Return a timed step on random rows of ten classes, on the model's device."""
    device = next(model.parameters()).device
    x, y = torch.randn(shape, device=device), torch.randint(10, shape[:1], device=device)

    def run() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return run


def inner_step(model: nn.Module, shape: tuple[int, ...]) -> Callable[[], None]:
    """Return a timed step of SGD of what stands within a net: its input has a gradient too."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    device = next(model.parameters()).device
    x = torch.randn(shape, requires_grad=True, device=device)
    grad = torch.randn(shape, device=device)

    def run() -> None:
        x.grad = None
        optimizer.zero_grad()
        model(x).backward(grad)
        optimizer.step()

    return run


def options(claim: str) -> argparse.Namespace:
    """Read --threads, --repeats, --json and, of a claim whose usage has it, --device."""
    parser = argparse.ArgumentParser(description=claim.splitlines()[0])
    if "--device" in claim:
        parser.add_argument("--device", type=torch.device, default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=31, help="timed rounds; the median counts")
    parser.add_argument("--json", type=Path, help="write the numbers here as well")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def report(
    claim: str,
    rows: list[dict[str, Any]],
    path: Path | None,
    device: torch.device = CPU,
) -> None:
    """Print the rows as a table, and write them to ``path`` with what they were measured on."""
    columns = list(rows[0])
    cells = [columns] + [
        [f"{row[c]:.3g}" if isinstance(row[c], float) else str(row[c]) for c in columns]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    print(claim.splitlines()[0])
    for line in cells:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if path is not None:
        record = {"claim": claim.splitlines()[0], "measured_on": measured_on(device), "rows": rows}
        path.write_text(json.dumps(record, indent=2) + "\n")


def measured_on(device: torch.device = CPU) -> dict[str, object]:
    """Return the command, the date, versions and hardware of this run."""
    return {
        "command": " ".join(sys.argv),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "dropkit": dropkit.__version__,
        "backend": backend(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()

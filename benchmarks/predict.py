"""Claim: 50 samples of a CNN with dropout in its head take at most 0.15 of 50 forward passes.

Both give the mean and the variance of the same network on the same batch, alternately, in one
process; the ratio is ``predict`` / naive loop, everything counted, finding out where to cut too.

    python benchmarks/predict.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

import statistics
import time

import torch
from side_by_side import options, report, wait
from torch import Tensor, nn

from dropkit.prediction import predict, sampling

SAMPLES = 50


def network() -> nn.Module:
    """A small CNN for 32 × 32 images in three colours, dropout in its head."""
    torch.manual_seed(0)
    blocks: list[nn.Module] = []
    channels = 3
    for width in (32, 64, 128):
        for _ in range(2):
            blocks += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        blocks.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Dropout(0.5), nn.Linear(2048, 256), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*blocks, *head, nn.Linear(256, 10)).eval()


def naive(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a user would write by hand."""
    with torch.no_grad(), sampling(model):
        outputs = torch.stack([model(x) for _ in range(SAMPLES)])
    return outputs.mean(0), outputs.var(0)


def pair(model: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the seconds of both, one after the other."""
    start = time.perf_counter()
    mean, variance = naive(model, x)
    wait(x.device)
    middle = time.perf_counter()
    found = predict(model, x, SAMPLES)
    wait(x.device)
    end = time.perf_counter()
    error = ((variance + found.variance) / SAMPLES).sqrt()
    apart = ((mean - found.mean) / error).square().mean().sqrt().item()
    assert apart < 3, "the two do not estimate the same mean"
    return middle - start, end - middle


def main() -> None:
    chosen = options(__doc__)
    model, rows = network().to(chosen.device), []
    for batch in (1, 8, 64):
        x = torch.randn(batch, 3, 32, 32, device=chosen.device)
        pair(model, x)  # warms up
        repeats = chosen.repeats if batch < 64 else max(1, chosen.repeats // 4)
        taken = [pair(model, x) for _ in range(repeats)]
        ratios = sorted(predicted / loop for loop, predicted in taken)
        rows.append(
            {
                "batch": batch,
                "naive ms": 1e3 * statistics.median(loop for loop, _ in taken),
                "predict ms": 1e3 * statistics.median(predicted for _, predicted in taken),
                "predict / naive": statistics.median(ratios),
                "quartiles": f"{ratios[len(ratios) // 4]:.3f} to {ratios[-len(ratios) // 4]:.3f}",
            }
        )
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

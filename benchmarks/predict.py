"""Claim: 50 samples of a CNN with dropout in its head take at most 0.15 of 50 forward passes.

Both give the mean and the variance of the same network on the same batch, alternately, in one
process; the ratio is ``predict`` / naive loop, everything counted, finding out where to cut too.

    python benchmarks/predict.py [--samples 50] [--batch 64] [--pairs 7] [--threads 2]
"""

import argparse
import platform
import statistics
import time

import torch
from torch import Tensor, nn

from dropkit.prediction import predict
from dropkit.sampling import sampling


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


def naive(model: nn.Module, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """What a user would write by hand."""
    with torch.no_grad(), sampling(model):
        outputs = torch.stack([model(x) for _ in range(samples)])
    return outputs.mean(0), outputs.var(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, x = network(), torch.randn(options.batch, 3, 32, 32)
    ratios = []
    for pair in range(options.pairs + 1):
        start = time.perf_counter()
        mean, variance = naive(model, x, options.samples)
        middle = time.perf_counter()
        found = predict(model, x, options.samples)
        end = time.perf_counter()
        error = ((variance + found.variance) / options.samples).sqrt()
        apart = ((mean - found.mean) / error).square().mean().sqrt().item()
        assert apart < 2, "the two do not estimate the same mean"
        if pair:  # the first pair warms up
            ratios.append((end - middle) / (middle - start))
            print(f"pair {pair}: naive {middle - start:.3f} s, predict {end - middle:.3f} s")
    print(f"torch {torch.__version__}, Python {platform.python_version()}")
    print(f"{options.threads} threads, batch {options.batch}, {options.samples} samples")
    print(
        f"predict / naive: median {statistics.median(ratios):.3f} "
        f"(min {min(ratios):.3f}, max {max(ratios):.3f}); at most 0.15 is claimed"
    )


if __name__ == "__main__":
    main()

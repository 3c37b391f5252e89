"""Claim: one pass of moments is at least 10 times as fast as 50 samples of the same network.

A network of 784-512-512-10 with dropout .2 and .5 is trained on MNIST with sampled masks. Then the
mean class probabilities of 2,000 test images are estimated by ``moments``; by ``joint``, which has
how the logits of the three likeliest classes, or of all, vary together; by ``predict`` and by a
naive loop; in turns, everything counted. The truth is 1,000 samples; the error of 50 samples is
their standard error, from the same samples.

    python benchmarks/moments.py --data-dir DIR [--device NAME] [--threads N]
           [--repeats N] [--json FILE]
"""

import argparse
import sys
from pathlib import Path

import torch
from side_by_side import options, report, times
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit.analytic import class_probabilities, joint, moments
from dropkit.prediction import predict, sampling
from dropkit.study.data import load

SAMPLES, TRUTH, EPOCHS, IMAGES = 50, 1000, 3, 2000


def trained(x: Tensor, y: Tensor) -> nn.Module:
    """Train with sampled masks."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(784, 512), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(512, 512), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(512, 10),
    ).to(x.device)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - epoch / EPOCHS)
        for rows in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def naive(model: nn.Module, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of probabilities, as a user would write it by hand."""
    total = squares = torch.zeros((), device=x.device)
    with torch.no_grad(), sampling(model):
        for _ in range(samples):
            probabilities = model(x).softmax(1)
            total, squares = total + probabilities, squares + probabilities.square()
    mean = total / samples
    return mean, (squares / samples - mean.square()).clamp(min=0) * samples / (samples - 1)


@torch.no_grad()
def one_pass(model: nn.Module, x: Tensor) -> Tensor:
    return class_probabilities(moments(model)(x)).mean


def together(model: nn.Module, x: Tensor, leading: int | None) -> Tensor:
    return class_probabilities(joint(moments(model), x, leading=leading)).mean


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data-dir", type=Path)
    known, sys.argv[1:] = parser.parse_known_args()
    chosen = options(__doc__)
    data = load("mnist", data_dir=known.data_dir)
    x, x_test = (
        torch.tensor(images, dtype=torch.float32, device=chosen.device).flatten(1) / 255
        for images in (data.X, data.X_test[:IMAGES])
    )
    y_test = torch.tensor(data.y_test[:IMAGES], device=chosen.device)
    model = trained(x, torch.tensor(data.y, device=chosen.device))
    taken = times(
        {
            "moments": lambda: one_pass(model, x_test),
            "joint, 3 leading": lambda: together(model, x_test, 3),
            "joint": lambda: together(model, x_test, None),
            "predict": lambda: predict(model, x_test, SAMPLES, task="classification"),
            "naive": lambda: naive(model, x_test, SAMPLES),
        },
        chosen.repeats,
        chosen.device,
    )
    truth, variance = naive(model, x_test, TRUTH)
    error = (variance / SAMPLES).sqrt()
    rows = []
    with torch.no_grad():
        found = {
            "moments": one_pass(model, x_test),
            "joint, 3 leading": together(model, x_test, 3),
            "joint": together(model, x_test, None),
            "50 samples": naive(model, x_test, SAMPLES)[0],
            "weight scaling": model(x_test).softmax(1),
        }
    seconds = taken | {"50 samples": taken["naive"]}
    # The variance of the logits is what the twin is known to understate.
    with torch.no_grad():
        sampled = predict(model, x_test, 200).variance
        twin = moments(model)
        variances = {"moments": twin(x_test).variance, "joint": joint(twin, x_test).variance}
    ratios = {name: (each / sampled).median().item() for name, each in variances.items()}
    for name, mean in found.items():
        apart = mean - truth
        rows.append(
            {
                "mean by": name,
                "within 3 errors of 50, %": 100 * (apart.abs() <= 3 * error).float().mean().item(),
                "RMS difference": apart.square().mean().sqrt().item(),
                "RMS error of 50": error.square().mean().sqrt().item(),
                "largest": apart.abs().max().item(),
                "log loss": F.nll_loss(mean.clamp(min=1e-12).log(), y_test).item(),
                "test error, %": 100 * (mean.argmax(1) != y_test).float().mean().item(),
                "s": seconds.get(name),
                "naive / it": taken["naive"] / seconds[name] if name in seconds else None,
                "predict / it": taken["predict"] / seconds[name] if name in seconds else None,
                "logit variance / sampled": ratios.get(name),
            }
        )
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

"""Claim: a conv net's thinned step takes at most 0.60 × the step of the net without dropout.

Four 3 × 3 convolutions on 32 × 32 images, batch normalization, channel dropout 0.5 behind each,
batch 128, SGD with momentum, random data; and the same net without normalization.

    python benchmarks/thinned_conv.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

from collections.abc import Callable

from side_by_side import options, report, times, training_step
from torch import nn
from torch.optim import SGD

from dropkit.noise import Dropout2d
from dropkit.thinned import thin


def network(layer: Callable[[float], nn.Module], norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, channels, pool in ((3, 64, 1), (64, 64, 2), (64, 128, 1), (128, 128, 2)):
        layers += [nn.Conv2d(inputs, channels, 3, padding=1)]
        layers += [nn.BatchNorm2d(channels)] if norm else []
        layers += [nn.ReLU()]
        layers += [nn.MaxPool2d(pool)] if pool > 1 else []
        layers += [layer(0.5)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 8 * 8, 10))


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for norm in (True, False):
        models = {
            "none": network(nn.Identity, norm),
            "dropkit": network(Dropout2d, norm),
            "thinned": thin(network(Dropout2d, norm))[0],
        }
        for model in models.values():
            model.to(chosen.device)
        steps = {
            name: training_step(m, (128, 3, 32, 32), SGD(m.parameters(), lr=0.01, momentum=0.9))
            for name, m in models.items()
        }
        taken = times(steps, chosen.repeats, chosen.device)
        row: dict[str, object] = {"normalization": norm, "none ms": 1e3 * taken["none"]}
        row |= {f"{name} / none": taken[name] / taken["none"] for name in ("dropkit", "thinned")}
        rows.append(row)
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

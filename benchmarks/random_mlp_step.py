"""Claim: dropout makes a training step of a plain MLP at most 1.12 × as long as without it.

784-1024-1024-10, ReLU, batch 128, drop 0.2 at the input and 0.5 in the hidden layers, SGD.

    python benchmarks/random_mlp_step.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

from side_by_side import mlp, options, report, times, training_step
from torch import nn
from torch.optim import SGD

from dropkit.noise import Dropout


def main() -> None:
    chosen = options(__doc__)
    contestants = {"none": nn.Identity, "dropkit": Dropout, "torch": nn.Dropout}
    models = {name: mlp(layer).to(chosen.device) for name, layer in contestants.items()}
    steps = {
        name: training_step(model, (128, 784), SGD(model.parameters(), lr=0.01))
        for name, model in models.items()
    }
    taken = times(steps, 10 * chosen.repeats, chosen.device)
    row = {f"{name} ms": 1e3 * seconds for name, seconds in taken.items()}
    for name in ("dropkit", "torch"):
        row[f"{name} / none"] = taken[name] / taken["none"]
    report(__doc__, [row], chosen.json, chosen.device)


if __name__ == "__main__":
    main()

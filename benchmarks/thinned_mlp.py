"""Claim: a thinned MLP step takes at most 0.40 (0.75) × the step of the net without dropout.

784-2048-2048-10 at batch 512, and in brackets 784-1024-1024-10 at batch 128; ReLU, drop 0.2 at the
input and 0.5 in the hidden layers, one sub-network per batch, random data; with SGD and momentum,
as torch runs it and fused into one pass over the parameters, and with Adam. Each beside the net
without dropout with the same optimizer; lazy: what was dropped is not updated.

    python benchmarks/thinned_mlp.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

from collections.abc import Callable

from side_by_side import mlp, options, report, times, training_step
from torch import nn
from torch.optim import SGD, Adam, Optimizer

from dropkit.noise import Dropout
from dropkit.thinned import LazyOptimizer, thin

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "SGD": lambda model: SGD(model.parameters(), lr=0.01, momentum=0.9),
    "SGD, fused": lambda model: SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True),
    "Adam": lambda model: Adam(model.parameters()),
}


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for hidden, batch, repeats in ((2048, 512, 1), (1024, 128, 4)):
        for optimizer, made in OPTIMIZERS.items():
            models = {
                "none": mlp(nn.Identity, hidden),
                "dropkit": mlp(Dropout, hidden),
                "thinned": thin(mlp(Dropout, hidden))[0],
                "thinned, lazy": thin(mlp(Dropout, hidden))[0],
                "thinned, 4 groups": thin(mlp(Dropout, hidden), groups=4)[0],
            }
            for model in models.values():
                model.to(chosen.device)
            optimizers = {name: made(model) for name, model in models.items()}
            lazy = "thinned, lazy"
            optimizers[lazy] = LazyOptimizer(optimizers[lazy], models[lazy])
            steps = {
                name: training_step(model, (batch, 784), optimizers[name])
                for name, model in models.items()
            }
            taken = times(steps, repeats * chosen.repeats, chosen.device)
            row = {"hidden": hidden, "batch": batch, "optimizer": optimizer}
            row |= {"none ms": 1e3 * taken["none"]}
            row |= {f"{name} / none": taken[name] / taken["none"] for name in list(models)[1:]}
            rows.append(row)
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

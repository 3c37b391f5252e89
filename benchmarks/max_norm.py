"""Claim: max-norm after every step costs at most 15 % of a training step, all rows projected.

784-1024-1024-10, batch 128, SGD with momentum, dropout 0.5, random data. The norms start where the
layers' own initialization puts them, just below 0.6; a smaller c projects more rows.

    python benchmarks/max_norm.py [--device NAME] [--threads N] [--repeats N] [--json FILE]
"""

import torch
import torch.nn.functional as F
from side_by_side import options, report, times
from torch import nn

from dropkit.constrain import max_norm_
from dropkit.noise import Dropout


def contestants(c: float, device: torch.device) -> tuple[nn.Module, dict[str, object]]:
    model = nn.Sequential(
        *(nn.Linear(784, 1024), nn.ReLU(), Dropout(0.5)),
        *(nn.Linear(1024, 1024), nn.ReLU(), Dropout(0.5)),
        nn.Linear(1024, 10),
    ).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(128, 784, device=device), torch.randint(10, (128,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    return model, {"step": step, "max_norm_": lambda: max_norm_(model, c)}


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for c in (3.0, 0.6, 0.55):
        model, turns = contestants(c, chosen.device)
        taken = times(turns, 5 * chosen.repeats, chosen.device)
        weights = [p for p in model.parameters() if p.ndim == 2]
        at = sum(int((w.norm(dim=1) > 0.999 * c).sum()) for w in weights)
        rows.append(
            {
                "c": c,
                "rows at c, of 2,058": at,
                "step ms": 1e3 * taken["step"],
                "max_norm_ ms": 1e3 * taken["max_norm_"],
                "max_norm_ / step": taken["max_norm_"] / taken["step"],
            }
        )
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

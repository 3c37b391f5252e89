"""Claim: dropout keeps less than 100 bytes for the backward pass, whatever the tensor's size.

Counted by autograd's hooks on saved tensors, by their storage, the output's left out, and the seed.

    python benchmarks/random_memory.py [--device NAME] [--json FILE]
"""

import torch
from side_by_side import options, report
from torch import Tensor, nn

from dropkit.noise import Dropout, GaussianDropout


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    kept: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        output = layer(x)
    for saved in getattr(output.grad_fn, "call", ()):  # dropkit's seed, which hooks do not see
        if isinstance(saved, Tensor):
            note(saved)
    kept.pop(output.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def main() -> None:
    chosen = options(__doc__)
    rows = []
    for layer in (Dropout(0.5), GaussianDropout(0.5), nn.Dropout(0.5)):
        for elements in (1 << 10, 1 << 22):
            x = torch.randn(elements, requires_grad=True, device=chosen.device)
            name = f"{type(layer).__module__.partition('.')[0]}.{type(layer).__name__}"
            rows.append({"layer": name, "elements": elements, "bytes": kept_bytes(layer, x)})
    report(__doc__, rows, chosen.json, chosen.device)


if __name__ == "__main__":
    main()

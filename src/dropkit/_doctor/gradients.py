"""Check that all parameters get a gradient in every training step."""

from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from dropkit._doctor.finding import Finding
from dropkit._doctor.outputs import find_tensors
from dropkit._doctor.subject import Subject

_PASSES = 32  # 32 passes miss 1 of 30 layers with drop probability 0.1


def check_gradients(subject: Subject) -> Iterator[Finding]:
    """Find modules whose parameters have no gradient in some training steps.

    Args:
        subject: the model, in training mode.
    """
    parameters = {n: p for n, p in subject.model.named_parameters() if p.requires_grad}
    without: Counter[str] = Counter()
    for step in range(_PASSES):
        without.update(_without(subject, parameters, step))
    sometimes = {name: n for name, n in without.items() if n < _PASSES}
    covered: set[str] = set()
    for path, module in subject.model.named_modules():
        prefix = f"{path}." if path else ""
        inside = {prefix + name for name, p in module.named_parameters() if p.requires_grad}
        inside &= parameters.keys()
        counts = {sometimes.get(name) for name in inside}
        if not inside or inside <= covered or None in counts or len(counts) > 1:
            continue
        covered |= inside
        yield Finding(
            "no-gradient",
            path,
            "warning",
            f"its parameters had no gradient in {counts.pop()} of {_PASSES} training passes, since "
            "they are skipped at random",
            "multiply the branch by a mask (DropPath, StochasticDepth) so that every parameter has "
            "a gradient, or set find_unused_parameters=True in distributed training",
        )


def _without(subject: Subject, parameters: Mapping[str, Tensor], seed: int) -> list[str]:
    with torch.enable_grad():
        total = [leaf.sum() for leaf in find_tensors(subject.call(seed)) if leaf.requires_grad]
        if not total:
            return list(parameters)
        found = torch.autograd.grad(
            torch.stack([x.double() for x in total]).sum(),
            list(parameters.values()),
            allow_unused=True,
        )
    return [name for name, grad in zip(parameters, found, strict=True) if grad is None]

"""Find out why samples of a model do not differ, although a module draws random numbers."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from dropkit._doctor.outputs import find_tensors, main
from dropkit._doctor.subject import Subject
from dropkit.prediction._sampling import switch_on

Cause = Literal["unused", "still", "weak"]


def find_cause(subject: Subject, name: str, samples: int) -> Cause:
    """Return why a module's random draws do not change the output.

    Args:
        subject: the model, in evaluation.
        name: name of a module that draws while sampling.
        samples: number of samples with equal output.

    Returns:
        ``"unused"`` if the model's output does not use the module's result; ``"still"`` if the
        module returned the same result in all samples, but may vary in more samples; ``"weak"`` if
        the model's output hardly depends on the result, for example because of a layer scale or a
        head near zero.
    """
    with switch_on(subject.model):
        if not _varies(subject, name, samples):
            return "still"
        return "weak" if _is_connected(subject, name) else "unused"


def _varies(subject: Subject, name: str, samples: int) -> bool:
    first = subject.run(1, keep=name).kept
    for seed in range(2, samples + 1):
        kept = subject.run(seed, keep=name).kept
        equal = len(kept) == len(first) and all(map(torch.equal, first, kept))
        if not equal:
            return True
    return False


def _is_connected(subject: Subject, name: str) -> bool:
    """Whether the output uses the result of a module, even with derivative zero."""
    marked: list[Tensor] = []

    def mark(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        marked.append(tensor.detach().clone().requires_grad_())
        return marked[-1].clone()  # the next layer may work in place

    def leave(module: Any, args: Any, output: Any) -> Any:
        return tree_map_only(Tensor, mark, output)

    hook = subject.modules[name].register_forward_hook(leave)
    try:
        with torch.enable_grad():
            output = main(subject.call(1))
            found = [leaf for leaf in find_tensors(output) if leaf.is_floating_point()]
            if not found:  # for example a class index, which may hide small differences
                return True
            total = [leaf.double().sum() for leaf in found if leaf.requires_grad]
            if not total or not marked:
                return False
            slopes = torch.autograd.grad(torch.stack(total).sum(), marked, allow_unused=True)
    except (RuntimeError, TypeError):  # the output cannot be differentiated
        return True
    finally:
        hook.remove()
    return any(slope is not None for slope in slopes)

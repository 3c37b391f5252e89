"""Update a part of a weight matrix in place as an optimizer would, with the CPU kernel.

Copying parts of a weight, its gradient and its moments out and back costs more time than the
smaller update saves. The kernel updates the kept part in place, in one pass.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from dropkit.thinned import _matrix as matrix

#: The kept rows and columns of a weight, None for all.
Block = tuple[Tensor | None, Tensor | None]


def update(
    optimizer: Optimizer,
    group: dict[str, Any],
    weight: nn.Parameter,
    state: dict[str, Any],
    block: Block,
) -> bool:
    """Update ``weight[rows, columns]`` and its state; return False if that is not supported.

    Args:
        optimizer: SGD with momentum, Adam or AdamW; other optimizers and rare options are
            unsupported.
        group: the options of the optimizer.
        weight: a matrix with a gradient.
        state: the optimizer's state of the weight; an empty state is filled.
        block: the kept rows and columns.
    """
    grad, adam = weight.grad, _is_adam(type(optimizer), group)
    tensors = [weight, grad, *(value for value in state.values() if _is_matrix(value))]
    if adam is None or matrix.kernel is None or not all(_fits(x, weight) for x in tensors):
        return False
    assert grad is not None
    rate, decay = float(group["lr"]), group["weight_decay"]
    shrink, of_gradient, of_moment, correction = 1.0, 0.0, 1.0, 1.0
    beta2 = epsilon = 0.0
    if adam:
        (beta1, beta2), epsilon = group["betas"], group["eps"]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device="cpu")
            state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(weight) for _ in range(2))
        first, second = state["exp_avg"], state["exp_avg_sq"]
        state["step"] += 1
        steps = state["step"].item()
        if type(optimizer) is AdamW or group.get("decoupled_weight_decay"):
            decay, shrink = 0.0, 1 - rate * decay
        rate, correction = rate / (1 - beta1**steps), (1 - beta2**steps) ** -0.5
    else:
        beta1 = group["momentum"]
        if group["nesterov"]:
            of_gradient, of_moment = 1.0, beta1
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(weight)
        first = second = state["momentum_buffer"]
    rows, columns = block
    height, width = weight.shape
    kept = weight.new_ones(width)
    if columns is not None:
        kept = kept.zero_().index_fill_(0, columns, 1.0)
    matrix.kernel.update(
        adam, weight.dtype == torch.float64,
        weight.data_ptr(), grad.data_ptr(), first.data_ptr(), second.data_ptr(),
        0 if rows is None else rows.data_ptr(), kept.data_ptr(),
        width, height if rows is None else len(rows),
        rate, decay, shrink, beta1, beta2, epsilon, of_gradient, of_moment, correction,
        torch.get_num_threads(),
    )  # fmt: skip
    return True


def _is_adam(kind: type[Optimizer], group: dict[str, Any]) -> bool | None:
    """Return True for Adam and AdamW, False for SGD with momentum, None for others."""
    if group.get("maximize") or group.get("differentiable"):
        return None
    if kind is SGD and group["momentum"] and not group["dampening"]:
        return False
    return True if kind in (Adam, AdamW) and not group["amsgrad"] else None


def _is_matrix(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() == 2


def _fits(x: Tensor | None, weight: Tensor) -> bool:
    return (
        x is not None
        and x.is_cpu
        and x.dim() == 2
        and x.is_contiguous()
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
    )

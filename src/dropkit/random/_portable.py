"""Noise for exported programs, with torch operators that other tools support."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx.experimental import proxy_tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

from dropkit.random._product import Kind, check_rate

_OF_SHAPES = {
    "ones_like",
    "full_like",
    "zeros_like",
    "new_ones",
    "new_full",
    "new_zeros",
    "sym_size",
}


def is_exported(kind: Kind, seeded: bool, as_mask: bool) -> bool:
    """Whether to record a call with torch operators, for an exported program.

    Calls with a seed keep dropkit's operators. Except for ONNX, so do Gaussian noise and masks,
    because tools cannot switch these off as dropout.
    """
    exporting = torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
    if not (exporting or torch._C._get_tracing_state()) or seeded:
        return False
    return torch.onnx.is_in_onnx_export() or (exporting and kind == "bernoulli" and not as_mask)


def refuse_in_onnx() -> None:
    """Raise ``RuntimeError`` if an operator of dropkit would be exported to ONNX."""
    if torch.onnx.is_in_onnx_export():
        raise RuntimeError(
            "noise with a seed, given or drawn by the layer as in DropBlock and PatchDropout, "
            "cannot be exported to ONNX, which would draw other noise; export the model in "
            "evaluation, or use Dropout"
        )


def multiply_portably(x: Tensor, kind: Kind, p: float | Tensor, shared: Sequence[int]) -> Tensor:
    """Multiply by the same kind of noise as ``multiply``, drawn by torch instead of dropkit.

    Dropout becomes ``aten.dropout``, so that tools can find it, switch it off and convert it.
    """
    with _disable_current_modes():  # read the rate as a constant
        rate = check_rate(p.detach().item() if isinstance(p, Tensor) else p, kind)
    if kind == "gaussian":
        return x * (1 + math.sqrt(rate / (1 - rate)) * torch.randn_like(x))
    folded = torch.onnx.is_in_onnx_export() and (shared or _is_constant(x))
    if not shared and not folded:
        return F.dropout(x, rate, True)
    sizes = [1 if dim in shared else size for dim, size in enumerate(x.shape)]
    if not folded:
        return x * F.dropout(torch.ones(sizes, dtype=x.dtype, device=x.device), rate, True)
    # onnxscript would fold dropout of a constant into a constant, equal in every run.
    drawn = torch.rand(sizes, dtype=torch.float32, device=x.device) >= rate
    return x * (drawn.to(x.dtype) / (1 - rate) if rate < 1 else 0.0)


def _is_constant(x: Tensor) -> bool:
    """Whether a tensor in an exported program does not depend on the program's inputs."""
    mode = proxy_tensor.get_proxy_mode()
    if mode is None:  # the older exporter does not fold constants
        return False
    if isinstance(x, nn.Parameter):
        return True
    slot = proxy_tensor.get_proxy_slot(x, mode.tracer, None)
    pending = [slot.proxy.node] if isinstance(slot, proxy_tensor._ProxyTensor) else []
    while pending:
        node = pending.pop()
        if node.op == "placeholder":
            return False
        if getattr(node.target, "_opname", "") not in _OF_SHAPES:
            pending += node.all_input_nodes
    return True

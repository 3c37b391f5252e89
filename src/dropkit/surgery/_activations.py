"""Recognize activation modules by their class or by their effect on a small tensor."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList

from dropkit._drops import is_dropout_layer, is_scripted
from dropkit._graph import AFTER, is_chain, layer_after
from dropkit._source import is_library

# Softmax is absent: it computes probabilities of classes or of attention, not hidden units.
_KNOWN = (
    nn.CELU, nn.ELU, nn.GELU, nn.GLU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh,
    nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.PReLU, nn.ReLU, nn.RReLU, nn.SELU, nn.SiLU,
    nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_FEW = 64  # most elements of parameters and buffers in an activation


def find_activations(model: nn.Module) -> dict[str, nn.Module]:
    """Return the activation modules of a model by name; their submodules are not listed."""
    found: dict[str, nn.Module] = {}
    parts: set[nn.Module] = set()
    for name, module in model.named_modules():
        if isinstance(module, ParametrizationList):  # its modules compute a weight
            parts |= set(module.modules())
        if module not in parts and is_activation(module):
            found[name] = module
            parts |= {part for part in module.modules() if part is not module}
    return found


def is_activation(module: nn.Module) -> bool:
    """Whether a module applies the same nonlinear function to each unit.

    Torch's activations are recognized by class. For a small module of another package that is not a
    container, the answer comes from a copy in evaluation mode that runs on a small tensor.
    """
    if isinstance(module, _KNOWN):
        return True
    kind = type(module)
    own = kind.forward is not nn.Module.forward and not is_chain(module)
    known = is_dropout_layer(module) or is_library(kind.__module__) or is_scripted(module)
    return own and not known and _is_small(module) and _acts_by_unit(module)


def _is_small(module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    on_hand = all(not t.is_meta and not nn.parameter.is_lazy(t) for t in tensors)
    return on_hand and sum(t.numel() for t in tensors) <= _FEW


def _acts_by_unit(module: nn.Module) -> bool:
    tensors = [*module.parameters(), *module.buffers()]
    like = next((t for t in tensors if t.is_floating_point()), torch.empty(0))
    x = torch.linspace(-4, 4, 24, dtype=like.dtype, device=like.device).reshape(2, 3, 4)
    moved = x.clone()
    moved[0, 1, 2] += 1
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copied = deepcopy(module).eval()
            if layer_after(copied) is not None:
                copied._modules.pop(AFTER)
            copied._forward_hooks.clear()
            # Clone the input, because the module may work in place.
            y, again, flat = copied(x.clone()), copied(moved), copied(x.flatten()[None].clone())
    except Exception:
        return False  # the module needs another input
    if not all(isinstance(t, Tensor) and t.is_floating_point() for t in (y, again, flat)):
        return False
    if y.shape != x.shape or not torch.allclose(flat.flatten(), y.flatten(), equal_nan=True):
        return False
    changed = y != again
    bend = y.flatten().double().diff(n=2).abs().max()
    return int(changed.sum()) == int(changed[0, 1, 2]) and float(bend) > 1e-3

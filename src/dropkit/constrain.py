"""Max-norm: limit the norm of each unit's incoming weights by projection."""

import warnings
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from dropkit._checks import check_positive
from dropkit.noise import Noise
from dropkit.noise._kl import LearnedNoise

__all__ = ["max_norm_"]

Target = TypeVar("Target", nn.Module, Tensor)

# A view of a weight, and the numbers of its last dimensions, which hold the inputs of one unit. The
# other dimensions count the units.
_Incoming = tuple[Tensor, tuple[int, ...]]

# A weight that is sharded over processes, and a full copy of this weight.
_Gathered = tuple[Any, Tensor]


def max_norm_(target: Target, c: float) -> Target:
    """Project each unit's incoming weight vector onto the ball of radius ``c``, in place.

    ``w ← argmin ‖u − w‖₂ over ‖u‖₂ ≤ c,  that is  w · min(1, c / ‖w‖₂)``

    Call the function after every optimizer step, on the whole model or on the layers to constrain.
    The units and their incoming weights depend on the layer:

    ===================================  ===================  ==================================
    layer                                weight               one unit's incoming vector
    ===================================  ===================  ==================================
    ``Linear``                           (out, in)            a row
    ``Conv1d`` to ``3d``                 (out, in/g, taps)    ``[i]``: output channel i
    ``ConvTranspose1d`` to ``3d``        (in, out/g, taps)    ``[:, j]``: output channel j, for the
                                                              inputs of one group
    ``Bilinear``                         (out, in1, in2)      ``[i]``: output i
    ``Embedding``, ``EmbeddingBag``      (words, dim)         a row: the vector of a word
    ``RNN``, ``LSTM``, ``GRU``, cells    weight_ih, _hh, _hr  a row: one gate's weights from the
                                                              input (ih) or from the state (hh),
                                                              or one projection's weights (hr)
    ``MultiheadAttention``               in_proj, out_proj    a row
    ``Conv1D`` of transformers           (in, out)            a column
    ===================================  ===================  ==================================

    Biases, normalization layers, ``PReLU`` and frozen weights (``requires_grad=False``) inside a
    module do not change. A weight that is used in several places is projected once. A warning lists
    the parameters that are skipped. These are parameters of other module types, and parameters that
    were added to the layers in the table, such as LoRA's factors: their layout is unknown. Weights
    computed by ``weight_norm``, a parametrization or pruning are skipped, too.

    Args:
        target: a module, to project all its weights; or a single weight with two or more dimensions
            and units along the first. For another layout pass a view: ``max_norm_(weight.T, c)``.
        c: the maximum norm, above 0.

    Returns:
        ``target`` itself.

    A second call changes nothing. The direction of every vector stays the same. Vectors with norm
    ``c`` or less, and vectors with NaN or infinities, stay the same bit for bit (except that a GPU
    may change the bits of a NaN). Norms of float16 and bfloat16 are computed in float32. Norms
    whose square overflows are handled correctly.

    If a weight is sharded over processes (a ``DTensor`` from ``fully_shard``), each process
    projects its own units. If the weights of one unit are on several processes, the weight is
    gathered, so all processes must call the function. Call the function after the optimizer step,
    not in the forward pass.

    Raises:
        ValueError: if ``c`` is not a finite number above 0; if the module has no weight to project;
            if a weight is not initialized, or is flattened (by ``FullyShardedDataParallel``); if
            ``target`` is a weight with fewer than two dimensions.
        TypeError: if ``target`` is neither a module nor a floating-point tensor.

    >>> layer = nn.Linear(2, 3, bias=False)
    >>> layer.weight.data = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    >>> max_norm_(layer, 1.0).weight.data
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000],
            [0.0000, 0.0000]])

    Reference: Srebro and Shraibman (2005), "Rank, trace-norm and max-norm"; with dropout,
    Srivastava et al. (2014), who set c to 2–4.
    """
    c = check_positive(c, "c")
    gathered: list[_Gathered] = []
    attempt = 0
    with torch.no_grad():
        pending = list(_incoming(target, gathered))
        # Rounding can leave a projected vector slightly outside the ball. So compute the norms
        # again, as the next call will compute them, and project onto a smaller ball until every
        # vector is inside. Then the next call of ``max_norm_`` changes nothing.
        while pending:
            # Compute all norms before reading the first, so that a GPU is synchronized once.
            norms = [_norm(vectors, dims) for vectors, dims in pending]
            pending = [
                (vectors, dims)
                for (vectors, dims), norm in zip(pending, norms, strict=True)
                if _project_(vectors, dims, norm, c, attempt)
            ]
            attempt += 1
        for weight, whole in gathered:
            _spread_(weight, whole)
    return target


def _norm(vectors: Tensor, dims: tuple[int, ...]) -> Tensor:
    wide = torch.promote_types(vectors.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=dims, keepdim=True, dtype=wide)
    return norm


def _project_(vectors: Tensor, dims: tuple[int, ...], norm: Tensor, c: float, attempt: int) -> bool:
    """Scale the vectors whose norm exceeds c, and return whether any vector was scaled."""
    outside = norm > c
    if attempt > 0:
        outside &= norm.isfinite()  # infinite norms were handled in the first attempt
    if not outside.any():
        return False
    if attempt == 0:
        _project_overflowing_(vectors, dims, norm, c)
        slack = 2 * torch.finfo(norm.dtype).eps
    else:
        slack = min(2**attempt * torch.finfo(vectors.dtype).eps, 1.0)
    scale = (1 - slack) * (c / norm)
    vectors.mul_(torch.where(outside & norm.isfinite(), scale, 1.0))
    return True


def _project_overflowing_(vectors: Tensor, dims: tuple[int, ...], norm: Tensor, c: float) -> None:
    """Project the finite vectors whose squares sum to infinity."""
    overflowing = norm.isinf()
    if overflowing.any():
        peak = vectors.abs().amax(dims, keepdim=True)
        unit = vectors / peak
        radius = c / _norm(unit, dims)
        overflowing &= peak > radius  # false for an infinite peak, because radius is NaN
        vectors.copy_(torch.where(overflowing, unit * radius, vectors))


def _select_local_part(weight: Any, gathered: list[_Gathered], units_first: bool = True) -> Tensor:
    """Return a weight; if it is sharded, its local part, or all of it if units are split."""
    if not hasattr(weight, "device_mesh"):
        return weight  # type: ignore[no-any-return]
    by_unit = units_first and all(
        held.is_replicate() or getattr(held, "dim", None) == 0 for held in weight.placements
    )
    if by_unit:
        return weight.to_local()  # type: ignore[no-any-return]
    gathered.append((weight, weight.full_tensor()))
    return gathered[-1][1]


def _spread_(weight: Any, whole: Tensor) -> None:
    """Write a full weight back into the shards; every process has the full weight."""
    # Import here: only a process with a DTensor has already imported this module.
    from torch.distributed.tensor import DTensor, Replicate

    mesh = weight.device_mesh
    copies = DTensor.from_local(whole, mesh, [Replicate()] * mesh.ndim, run_check=False)
    weight.copy_(copies.redistribute(placements=weight.placements))


def _incoming(target: nn.Module | Tensor, gathered: list[_Gathered]) -> Iterator[_Incoming]:
    if isinstance(target, nn.Module):
        yield from _incoming_of_module(target, gathered)
    elif isinstance(target, Tensor) and target.is_floating_point():
        if target.dim() < 2:
            raise ValueError(
                f"a weight must have two or more dimensions, units first, got shape "
                f"{tuple(target.shape)}; for the incoming vector of one unit pass weight[None]"
            )
        yield _select_local_part(target, gathered), tuple(range(1, target.dim()))
    else:
        kind = str(target.dtype) if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(
            f"max_norm_ takes a module or a floating-point weight, got {kind}; "
            "for several, call it on each"
        )


def _incoming_of_module(model: nn.Module, gathered: list[_Gathered]) -> Iterator[_Incoming]:
    seen: set[Tensor] = set()
    frozen = 0
    left: dict[str, str] = {}
    for path, module in model.named_modules():
        known = _weight_names(module)
        for name in known:
            full = f"{path}.{name}" if path else name
            if name not in module._parameters:
                left[full] = "is computed from others"
                continue
            weight = _checked(module._parameters[name], full)
            if weight is None or weight in seen:
                continue
            seen.add(weight)
            if not weight.requires_grad:
                frozen += 1
            elif isinstance(module, _ConvTransposeNd):
                whole = _select_local_part(weight, gathered, units_first=False)
                by_group = whole.view(module.groups, -1, *whole.shape[1:]).transpose(1, 2)
                yield by_group, tuple(range(2, by_group.dim()))
            elif _is_transposed(module):
                yield _select_local_part(weight, gathered, units_first=False).T, (1,)
            else:
                yield _select_local_part(weight, gathered), tuple(range(1, weight.dim()))
        if not _holds_no_weights(module) and not any(n not in module._parameters for n in known):
            left |= {
                f"{path}.{name}" if path else name: "has an unknown layout"
                for name, parameter in module._parameters.items()
                if name not in known and parameter is not None and _may_be_weight(parameter, name)
            }
    if len(seen) == frozen:
        raise ValueError(_nothing_to_project(model, frozen, left))
    if left:
        warnings.warn(
            f"max_norm_ skips {_list_some(left)}; to project such a weight, pass it directly, "
            "with units in the first dimension",
            stacklevel=4,
        )


def _nothing_to_project(model: nn.Module, frozen: int, left: dict[str, str]) -> str:
    kind = type(model).__name__
    if frozen and not left:
        return (
            f"{kind} must hold a weight to project, but all {frozen} of its weights are frozen; "
            "pass a weight itself to project it"
        )
    found = _list_some(left) if left else "none of its modules is of a known type"
    return (
        f"{kind} must hold a weight to project, but {found}; pass its weights directly, with "
        "units in the first dimension, or remove their reparametrization or pruning"
    )


def _list_some(left: dict[str, str]) -> str:
    shown = ", ".join(f"{name} ({why})" for name, why in [*left.items()][:3])
    return shown + (f" and {len(left) - 3} more" if len(left) > 3 else "")


def _is_transposed(module: nn.Module) -> bool:
    """Whether a module is transformers' ``Conv1D``, a linear layer with a weight (in, out)."""
    weight = module._parameters.get("weight")
    return (
        type(module).__name__ == "Conv1D"
        and isinstance(weight, Tensor)
        and weight.shape == (getattr(module, "nx", None), getattr(module, "nf", None))
    )


def _holds_no_weights(module: nn.Module) -> bool:
    """Whether the parameters are scales, shifts, slopes or noise rates, which are not projected."""
    scales = _NormBase | nn.LayerNorm | nn.RMSNorm | nn.PReLU
    return isinstance(module, scales | Noise | LearnedNoise | ParametrizationList)


def _may_be_weight(parameter: Tensor, name: str) -> bool:
    several = is_lazy(parameter) or sum(size > 1 for size in parameter.shape) > 1
    return several and parameter.requires_grad and name != "bias"


def _weight_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.Linear | _ConvNd | nn.Bilinear | nn.Embedding | nn.EmbeddingBag):
        return ("weight",)
    if isinstance(module, nn.RNNBase):
        return tuple(name for name in module._flat_weights_names if name.startswith("weight"))
    if isinstance(module, nn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    if isinstance(module, nn.MultiheadAttention):
        return ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
    if _is_transposed(module):
        return ("weight",)
    return ()


def _checked(weight: Tensor | None, path: str) -> Tensor | None:
    if weight is not None and is_lazy(weight):
        raise ValueError(f"{path} must be initialized; run the model once before projecting it")
    if weight is not None and weight.dim() < 2:
        raise ValueError(
            f"{path} must have a dimension for the units, got shape {tuple(weight.shape)}; to "
            "train in shards use torch.distributed.fsdp.fully_shard, which does not flatten weights"
        )
    return weight

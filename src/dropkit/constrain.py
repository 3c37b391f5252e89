"""Max-norm: hold each unit's incoming weights inside a ball, as a pure projection."""

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from dropkit._checks import check_positive

__all__ = ["max_norm_"]

Target = TypeVar("Target", nn.Module, Tensor)

# A weight seen so that its leading dimensions count the units; the rest, which are named,
# run over what comes in.
_Incoming = tuple[Tensor, tuple[int, ...]]

# A weight of which each process holds a shard, and a copy of the whole.
_Gathered = tuple[Any, Tensor]


def max_norm_(target: Target, c: float) -> Target:
    """Project each unit's incoming weight vector onto the ball of radius ``c``, in place.

    ``w ← argmin ‖u − w‖₂ over ‖u‖₂ ≤ c,  that is  w · min(1, c / ‖w‖₂)``

    Call it after every optimizer step, on the whole model or on the layers to constrain. What a
    unit is, and which weights come in to it, depends on the layer:

    ===================================  ===================  ==================================
    layer                                weight               one unit's incoming vector
    ===================================  ===================  ==================================
    ``Linear``                           (out, in)            a row
    ``Conv1d`` to ``3d``                 (out, in/g, taps)    all that feeds an output channel
    ``ConvTranspose1d`` to ``3d``        (in, out/g, taps)    the same: output j of a group takes
                                                              ``[:, j]`` of the group's inputs
    ``Bilinear``                         (out, in1, in2)      all pairs that feed an output
    ``Embedding``, ``EmbeddingBag``      (words, dim)         a row: the vector of a word
    ``RNN``, ``LSTM``, ``GRU``, cells    weight_ih, _hh, _hr  a row: what one gate takes from the
                                                              input, or from the state
    ``MultiheadAttention``               in_proj, out_proj    a row
    ===================================  ===================  ==================================

    Biases, normalization layers and ``PReLU`` are left alone, and so are the parameters of
    modules of other types, whose layout cannot be known, and frozen weights
    (``requires_grad=False``) inside a module: nothing trains them. A weight used in several
    places is projected once.

    Args:
        target: a module, of which every weight below it is projected; or a single weight of two
            or more dimensions, of which the first counts the units and the others come in to
            them. For another layout pass a view: ``max_norm_(weight.T, c)``.
        c: the largest norm, above 0.

    Returns:
        ``target`` itself.

    The call is idempotent to the bit, keeps the direction of every vector, and changes no bit of
    vectors of norm ``c`` or less, nor of vectors that hold NaN or infinities (a GPU may put another
    NaN in the place of one). Float16 and bfloat16 are measured in float32, and norms whose square
    overflows are measured all the same.

    Of a weight that is sharded over processes (a ``DTensor``, as ``fully_shard`` makes it) every
    process projects the units that it holds. Where the weights of one unit lie on several, the
    weight is gathered for it; so all processes must call. After the step, not in the forward pass.

    Raises:
        ValueError: if ``c`` is not a finite number above 0; if the module holds no weight to
            project, or one that is not initialized, is flattened (``FullyShardedDataParallel``)
            or is computed from other parameters (``weight_norm``, pruning); if a bare weight has
            fewer than two dimensions.
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
        # The rounding of a projected vector can leave it a hair outside the ball. So measure
        # again, with the very operation that the next call will use, and aim that much lower
        # until every vector is inside: then the next call finds nothing to do.
        while pending:
            # All norms are asked for before the first is looked at: a GPU is waited for once.
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
    """Scale the vectors whose norm exceeds c; return whether there were any."""
    outside = norm > c
    if attempt > 0:
        outside &= norm.isfinite()  # what is infinite now has been dealt with, or stays
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
        overflowing &= peak > radius  # not so if peak is infinite: radius is NaN then
        vectors.copy_(torch.where(overflowing, unit * radius, vectors))


def _held(weight: Any, gathered: list[_Gathered], units_first: bool = True) -> Tensor:
    """A weight, or of a sharded one the part that holds whole units; all of it if none does."""
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
    """Put a whole weight, of which every process has a copy, back into its shards."""
    from torch.distributed.tensor import DTensor, Replicate  # who has one has imported it

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
        yield _held(target, gathered), tuple(range(1, target.dim()))
    else:
        kind = str(target.dtype) if isinstance(target, Tensor) else type(target).__name__
        raise TypeError(
            f"max_norm_ takes a module or a floating-point weight, got {kind}; "
            "for several, call it on each"
        )


def _incoming_of_module(model: nn.Module, gathered: list[_Gathered]) -> Iterator[_Incoming]:
    seen: set[Tensor] = set()
    frozen = 0
    for path, module in model.named_modules():
        for name in _weight_names(module):
            weight = _parameter(module, name, f"{path}.{name}" if path else name)
            if weight is None or weight in seen:
                continue
            seen.add(weight)
            if not weight.requires_grad:
                frozen += 1
            elif isinstance(module, _ConvTransposeNd):
                whole = _held(weight, gathered, units_first=False)
                by_group = whole.view(module.groups, -1, *whole.shape[1:]).transpose(1, 2)
                yield by_group, tuple(range(2, by_group.dim()))
            else:
                yield _held(weight, gathered), tuple(range(1, weight.dim()))
    if len(seen) == frozen:
        raise ValueError(
            f"{type(model).__name__} must hold a weight to project, but "
            + (
                f"all {frozen} of its weights are frozen; pass a weight itself to project it"
                if frozen
                else "none of its modules is of a known type; pass its weights themselves, "
                "units in the first dimension"
            )
        )


def _weight_names(module: nn.Module) -> tuple[str, ...]:
    if isinstance(module, nn.Linear | _ConvNd | nn.Bilinear | nn.Embedding | nn.EmbeddingBag):
        return ("weight",)
    if isinstance(module, nn.RNNBase):
        return tuple(name for name in module._flat_weights_names if name.startswith("weight"))
    if isinstance(module, nn.RNNCellBase):
        return ("weight_ih", "weight_hh")
    if isinstance(module, nn.MultiheadAttention):
        return ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
    return ()


def _parameter(module: nn.Module, name: str, path: str) -> Tensor | None:
    if name not in module._parameters:
        raise ValueError(
            f"{path} must be a parameter, but it is computed from others; remove the "
            "reparametrization or pruning, or project the other layers one by one"
        )
    weight = module._parameters[name]
    if weight is not None and is_lazy(weight):
        raise ValueError(f"{path} must be initialized; run the model once before projecting it")
    if weight is not None and weight.dim() < 2:
        raise ValueError(
            f"{path} must have a dimension for the units, got shape {tuple(weight.shape)}; to "
            "train in shards use torch.distributed.fsdp.fully_shard, which does not flatten weights"
        )
    return weight

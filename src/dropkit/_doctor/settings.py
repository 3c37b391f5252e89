"""Checks without running the model: rates, recurrent layers, norms of weights."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.parameter import is_lazy

from dropkit._doctor.finding import Finding
from dropkit._drops import find_idle_rate, is_dropout_layer, is_recurrent
from dropkit.noise import DropPath

_EQUAL = 1e-5  # relative tolerance: projected norms differ by less, random norms by more
_SOME = 3  # vectors with the same norm; random weights rarely have two


def check_recurrent(model: nn.Module) -> Iterator[Finding]:
    """Find recurrent layers whose dropout has no effect."""
    for name, module in model.named_modules():
        if find_idle_rate(module):
            kind, rate = type(module).__name__, getattr(module, "dropout", 0.0)
            yield Finding(
                "one-layer-rnn",
                name,
                "error",
                f"dropout={float(rate):g} of nn.{kind} acts between layers, but there is only "
                "one layer",
                "put a dropout layer after it, or drop its recurrent weights with WeightDrop",
            )


def check_rates(model: nn.Module) -> Iterator[Finding]:
    """Find dropout that drops everything, or nothing."""
    found = dict(list_rates(model))
    layers = {name: p for name, p in found.items() if name not in _inner(model)}
    for name, p in found.items():
        if p == 1:
            yield Finding(
                "rate",
                name,
                "error",
                "p = 1 drops everything, so no gradient passes through it",
                "p is the probability of dropping; to keep everything, remove the layer",
            )
    off = [name for name, p in layers.items() if p == 0]
    if off and len(off) == len(layers):
        all_off = f", as in all {len(off)} dropout layers" if len(off) > 1 else ""
        off, note = off[:1], all_off
    else:
        # The first blocks of a network with stochastic depth have p = 0 by the linear rule.
        off = [name for name in off if not isinstance(model.get_submodule(name), DropPath)]
        note = ""
    for name in off:
        yield Finding(
            "rate",
            name,
            "note",
            f"p = 0 drops nothing{note}",
            "remove the layer, or set a rate between 0 and 1",
        )


def list_rates(model: nn.Module) -> Iterator[tuple[str, float]]:
    """Yield modules and their rates; rates inside recurrent layers and attention only above 0."""
    for name, module in model.named_modules():
        if is_dropout_layer(module) and hasattr(module, "p"):
            yield name, module.p
            continue
        number = is_recurrent(module) or isinstance(module, nn.MultiheadAttention)
        if number and module.dropout:
            yield name, float(module.dropout)


def _inner(model: nn.Module) -> set[str]:
    """Return the modules whose rate is set by an argument of a torch layer."""
    layers = nn.TransformerEncoderLayer | nn.TransformerDecoderLayer
    return {
        f"{name}.{child}" if name else child
        for name, module in model.named_modules()
        if isinstance(module, layers)
        for child, _ in module.named_children()
    } | {
        name
        for name, module in model.named_modules()
        if is_recurrent(module) or isinstance(module, nn.MultiheadAttention)
    }


def check_max_norm(model: nn.Module) -> Iterator[Finding]:
    """Find weights whose *outgoing* vectors were limited by max-norm.

    A projection onto a ball gives all vectors outside the ball the same norm. So equal norms show
    the axis of the projection.
    """
    for name, module in model.named_modules():
        if not isinstance(module, nn.Linear | _ConvNd) or isinstance(module, _ConvTransposeNd):
            continue
        weight = module._parameters.get("weight")
        if weight is None or is_lazy(weight) or weight.dtype not in (torch.float32, torch.float64):
            continue
        others = {tuple(d for d in range(weight.dim()) if d != 1), (0,)}
        count, c = max(_at_the_bound(weight, dims) for dims in sorted(others))
        bounded = _at_the_bound(weight, tuple(range(1, weight.dim())))[0]
        # All columns of norm 1 are normalized, as in the decoder of a sparse autoencoder.
        normalized = count == weight.shape[1] and abs(c - 1) < _EQUAL
        if count >= _SOME and not normalized and bounded < min(_SOME, len(weight)):
            yield Finding(
                "max-norm-axis",
                name,
                "error",
                f"{count} vectors of outgoing weights have the norm {c:.4g}, and the incoming ones "
                "are not bounded: max-norm has been applied along the wrong axis",
                f"a unit's incoming weights are weight[i]; use max_norm_(model, {c:.3g})",
            )


def _at_the_bound(weight: Tensor, dims: tuple[int, ...]) -> tuple[int, float]:
    """Return how many vectors along ``dims`` have the largest norm, and that norm."""
    weight = weight.detach().double()
    norms = weight.pow(2).sum(dims).sqrt().flatten()
    c = float(norms.max()) if norms.numel() else 0.0
    count = int((norms > c * (1 - _EQUAL)).sum()) if c > 0 else 0
    return (0, c) if count >= _SOME and _orthogonal(weight, dims) else (count, c)


def _orthogonal(weight: Tensor, dims: tuple[int, ...]) -> bool:
    """Whether the vectors are orthogonal, as after an orthogonal initialization."""
    kept = [d for d in range(weight.dim()) if d not in dims]
    vectors = weight.permute(*kept, *dims).flatten(0, len(kept) - 1).flatten(1)
    if vectors.shape[0] > vectors.shape[1]:
        return False
    gram = vectors @ vectors.T
    off = gram - gram.diag().diag()
    return bool(off.abs().max() < 1e-3 * gram.diag().max())

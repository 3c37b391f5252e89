"""Dropout's explicit regularizer for any network: a Jacobian form at its dropout layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from dropkit._checks import check_probability
from dropkit.noise import Dropout, GaussianDropout, Noise
from dropkit.noise._base import dropout_variance

Kind = Literal["classification", "regression"]

_UNITWISE = (nn.Dropout, Dropout, GaussianDropout)
_OTHERS = (nn.modules.dropout._DropoutNd, Noise)
_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)


def explicit_penalty(
    model: nn.Module,
    x: Tensor,
    *,
    kind: Kind = "classification",
    exact: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return what dropout adds to the expected loss, without sampling a mask.

    ``½ Σ_l v_l ⟨J_lᵀ H J_l, diag(h_l²)⟩``, the mean over the rows: v = p/(1 − p) of each dropout
    layer, h its input, J the Jacobian of the model's output in h, and H the loss's second
    derivative in the output, diag(π) − ππᵀ for the cross entropy of softmax and 2 for a squared
    error, summed over the outputs. To second order in what single units change. Exact for a
    squared error and dropout right before a last linear layer.

    Add it to the loss of the model without dropout, that is in evaluation mode or with this
    function's own passes, and train on the sum: the result is differentiable.

    Args:
        model: with unitwise dropout as layers: `torch.nn.Dropout`, `Dropout`, `GaussianDropout`.
            They are switched off in the passes made here; their modes are put back.
        x: inputs, (rows, …).
        kind: whether the output is logits, (rows, classes), or predictions, (rows, …).
        exact: whether all outputs are gone through, one backward pass each. Else one label per
            row is drawn from the model's own probabilities, which costs one backward pass and is
            right on average; classification only.
        generator: draws those labels; torch's default one if ``None``.

    Returns:
        A scalar.

    Raises:
        ValueError: the model has no dropout layer, or one of another kind, or one at p = 1, or
            BatchNorm in training, which mixes rows; ``exact=False`` for a regression; logits of
            another shape; no dropout layer is called.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
    >>> bool(explicit_penalty(net, torch.randn(4, 3)) > 0)
    True

    Dropout inside functions and attention is not seen. What is left out beside higher orders is
    noise of mean zero in the gradient, `implicit_noise`, which sampled dropout has as well.

    Reference: Wei, Kakade and Ma (2020), "The implicit and explicit regularization effects of
    dropout", known here second-hand.
    """
    if kind not in ("classification", "regression"):
        raise ValueError(f"kind must be 'classification' or 'regression', got {kind!r}")
    if kind == "regression" and not exact:
        raise ValueError("exact=False draws labels, so it takes kind='classification'")
    with _recorded(model, x) as (output, places):
        if kind == "classification" and (output.dim() != 2 or output.shape[1] < 2):
            raise ValueError(
                f"kind='classification' needs logits (rows, classes), got {tuple(output.shape)}"
            )
        inputs = [h for _, h in places]
        rows = len(output)
        if kind == "regression":
            gains = [2 * squares for squares in _squared_slopes(output.reshape(rows, -1), inputs)]
        elif exact:
            gains = _softmax_curvature(output, inputs)
        else:
            log = output.log_softmax(1)
            drawn = torch.multinomial(log.exp().detach(), 1, generator=generator)
            slopes = torch.autograd.grad(-log.gather(1, drawn).sum(), inputs, create_graph=True)
            gains = [slope.square() for slope in slopes]
        terms = [
            variance * (h.square() * gain).sum()
            for (variance, h), gain in zip(places, gains, strict=True)
        ]
        return 0.5 * torch.stack(terms).sum() / rows


def implicit_noise(
    model: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the noise that sampled dropout has beside its explicit penalty, to first order.

    ``Σ_l √v_l ⟨∂L/∂h_l, h_l ⊙ ε_l⟩`` with ε = ±1 drawn anew: its mean is zero, and so is its
    gradient's, but stochastic gradient descent generalises better with it.

    Args:
        model, x, generator: as for `explicit_penalty`.
        loss: from the model's output to the mean loss over the rows.

    Returns:
        A scalar, to be added to the loss.

    Raises:
        ValueError: as for `explicit_penalty`.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 1))
    >>> implicit_noise(net, torch.randn(4, 3), lambda output: output.square().mean()).shape
    torch.Size([])

    Reference: Wei, Kakade and Ma (2020), known here second-hand.
    """
    with _recorded(model, x) as (output, places):
        slopes = torch.autograd.grad(loss(output), [h for _, h in places], create_graph=True)
        terms = []
        for (variance, h), slope in zip(places, slopes, strict=True):
            coin = torch.randint(0, 2, h.shape, generator=generator, device=h.device)
            terms.append(variance**0.5 * (slope * h * (2 * coin - 1)).sum())
        return torch.stack(terms).sum()


@contextmanager
def _recorded(model: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, list[tuple[float, Tensor]]]]:
    """The output without dropout, and the variance and input of every dropout layer called."""
    layers = _layers(model)
    places: list[tuple[float, Tensor]] = []
    if x.is_floating_point() and not x.requires_grad:
        x = x.detach().requires_grad_()  # dropout on the inputs has a Jacobian as well

    def before(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, *rest = inputs
        if not h.requires_grad:  # of frozen layers, or of an embedding
            h = h.detach().requires_grad_()
        places.append((layers[layer], h))
        return h, *rest

    modes = {layer: layer.training for layer in layers}
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    try:
        for layer in layers:
            layer.training = False
        with torch.enable_grad():
            output = model(x)
            if not places:
                raise ValueError(f"{type(model).__name__} must call its dropout layers in forward")
            yield output, places
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in modes.items():
            layer.training = mode


def _layers(model: nn.Module) -> dict[nn.Module, float]:
    layers: dict[nn.Module, float] = {}
    for name, module in model.named_modules():
        shown = f"{name or 'the model'} ({type(module).__name__})"
        unitwise = type(module) in _UNITWISE and not getattr(module, "shared_dims", ())
        if isinstance(module, _OTHERS) and not unitwise:
            raise ValueError(
                f"{shown} is not unitwise dropout, for which alone this form holds; replace it by "
                "Dropout, or strip it"
            )
        if isinstance(module, _BATCH_NORMS) and module.training:
            raise ValueError(f"{shown} mixes the rows of a batch in training; call eval() on it")
        if unitwise:
            p = check_probability(float(module.p))
            if p == 1:
                raise ValueError(f"{shown} drops everything, p = 1; its noise has no variance")
            layers[module] = dropout_variance(p)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no dropout layer; insert one")
    return layers


def _squared_slopes(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """For each input, ``Σ_k J_k²``."""
    sums = [torch.zeros_like(h) for h in inputs]
    for k in range(output.shape[1]):
        slopes = torch.autograd.grad(output[:, k].sum(), inputs, create_graph=True)
        sums = [total + slope.square() for total, slope in zip(sums, slopes, strict=True)]
    return sums


def _softmax_curvature(logits: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """For each input, ``Σ_k π_k J_k² − (Σ_k π_k J_k)²``, the variance of J over the classes."""
    probabilities = logits.softmax(1)
    first = [torch.zeros_like(h) for h in inputs]
    second = [torch.zeros_like(h) for h in inputs]
    for k in range(logits.shape[1]):
        slopes = torch.autograd.grad(logits[:, k].sum(), inputs, create_graph=True)
        for i, slope in enumerate(slopes):
            weight = probabilities[:, k].reshape(-1, *[1] * (slope.dim() - 1))
            first[i] = first[i] + weight * slope
            second[i] = second[i] + weight * slope.square()
    return [b - a.square() for a, b in zip(first, second, strict=True)]

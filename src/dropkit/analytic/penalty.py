"""Compute dropout's explicit regularizer from the Jacobians at the dropout layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dropkit._checks import check_probability
from dropkit._drops import is_classic, is_dropout_layer, is_variant
from dropkit.noise import Dropout, GaussianDropout
from dropkit.noise._base import dropout_variance

Task = Literal["classification", "regression"]

_UNITWISE = (nn.Dropout, Dropout, GaussianDropout)


def explicit_penalty(
    model: nn.Module,
    x: Tensor,
    *,
    task: Task = "classification",
    exact: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the penalty that approximates what dropout adds to the expected loss, without masks.

    ``½ Σ_l v_l ⟨J_lᵀ H J_l, diag(h_l²)⟩``, averaged over the rows. For dropout layer l, h_l is its
    input, v_l = p/(1 − p) the variance of its mask, and J_l the Jacobian of the model's output y
    with respect to h_l. H is the second derivative of the loss with respect to y: diag(π) − ππᵀ for
    the cross entropy of softmax probabilities π, and 2 for the squared error, summed over the
    outputs.

    The penalty is differentiable. Add it to the loss of the model without dropout (in evaluation
    mode), and minimize the sum.

    The penalty is the Gauss–Newton part of the second-order effect of dropout. The penalty is the
    whole second-order effect if the network after the dropout is linear, or is piecewise linear and
    no mask crosses a kink. The penalty is exact for a squared error with dropout directly before a
    last linear layer. After smooth activations, the penalty omits ``½ Σ_l v_l ⟨∂L/∂y ∂²y/∂h_l²,
    diag(h_l²)⟩``. The omitted term has the same order, may be positive or negative, and may be
    larger than the penalty; the term is small where ∂L/∂y is small.

    Args:
        model: a module whose dropout layers all act on single units: `torch.nn.Dropout`, `Dropout`,
            `GaussianDropout`. The function switches these layers off for its own passes, and then
            restores their modes.
        x: inputs, (rows, …).
        task: whether the output is logits, (rows, classes), or predictions, (rows, …).
        exact: whether to use one backward pass per output. Otherwise the function draws one label
            per row from the model's own probabilities, and uses a single backward pass. Then value
            and gradient are unbiased estimates. ``exact=False`` supports classification only.
        generator: draw the labels from this generator instead of torch's default one.

    Returns:
        A scalar.

    Raises:
        ValueError: the model has no dropout layer; a dropout layer has another type, has p = 1, is
            not called, or drops values that rows share, such as position embeddings; BatchNorm is
            in training mode, which mixes rows; ``exact=False`` for a regression; logits with the
            wrong shape.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
    >>> bool(explicit_penalty(net, torch.randn(4, 3)) > 0)
    True

    Dropout inside functions and attention is not included. Sampled dropout also adds noise with
    mean zero to the gradient; `implicit_noise` imitates this noise.

    Reference: Wei, Kakade and Ma (2020), "The implicit and explicit regularization effects of
    dropout". Presumably the penalty of the paper omits the same term.
    """
    if task not in ("classification", "regression"):
        raise ValueError(f"task must be 'classification' or 'regression', got {task!r}")
    if task == "regression" and not exact:
        raise ValueError("exact=False draws labels, so it takes task='classification'")
    with _record_calls(model, x[:1]) as (_, single):
        pass
    with _record_calls(model, x) as (output, places):
        if task == "classification" and (output.dim() != 2 or output.shape[1] < 2):
            raise ValueError(
                f"task='classification' needs logits (rows, classes), got {tuple(output.shape)}"
            )
        for one, place in zip(single, places, strict=False):
            if place.h.numel() != len(x) * one.h.numel():
                raise ValueError(
                    f"{place.layer} must drop values that belong to one row each, but its input "
                    f"is {tuple(one.h.shape)} for one row and {tuple(place.h.shape)} for "
                    f"{len(x)}; expand what rows share before dropout"
                )
        output = output.reshape(len(output), -1)
        roots = _roots(output, exact, generator) if task == "classification" else _units(output)
        terms = [
            place.variance * (place.h * slope).square().sum()
            for root in roots
            for place, slope in zip(places, _slopes(output, places, root), strict=True)
        ]
        return 0.5 * torch.stack(terms).sum() / len(output)


def implicit_noise(
    model: nn.Module,
    x: Tensor,
    loss: Callable[[Tensor], Tensor],
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a random term that imitates the gradient noise of sampled dropout.

    ``Σ_l √v_l ⟨∂L/∂h_l, h_l ⊙ ε_l⟩``, where each element of ε_l is +1 or −1 with equal probability.
    For dropout layer l, h_l is its input and v_l = p/(1 − p) the variance of its mask; L is the
    loss. Minimize the sum of the loss, the explicit penalty and this term. The term and its
    gradient have mean zero. The authors of the paper below report that networks generalize better
    with this noise.

    Args:
        model: as for `explicit_penalty`.
        x: as for `explicit_penalty`.
        loss: function of the model's output that returns the mean loss over the rows.
        generator: as for `explicit_penalty`.

    Returns:
        A scalar.

    Raises:
        ValueError: as for `explicit_penalty`.

    >>> net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 1))
    >>> implicit_noise(net, torch.randn(4, 3), lambda output: output.square().mean()).shape
    torch.Size([])

    Reference: Wei, Kakade and Ma (2020).
    """
    with _record_calls(model, x) as (output, places):
        terms = []
        for (_, variance, h), slope in zip(places, _slopes(loss(output), places), strict=True):
            coin = torch.randint(0, 2, h.shape, generator=generator, device=h.device)
            terms.append(variance**0.5 * (slope * h * (2 * coin - 1)).sum())
        return torch.stack(terms).sum()


def unitwise_layers(model: nn.Module) -> dict[nn.Module, tuple[str, float]]:
    """Return every dropout layer with its name and mask variance; raise for unsupported types."""
    layers: dict[nn.Module, tuple[str, float]] = {}
    for name, module in model.named_modules():
        shown = f"{name or 'the model'} ({type(module).__name__})"
        if type(module) in _UNITWISE and not getattr(module, "shared_dims", ()):
            p = check_probability(float(module.p))
            if p == 1:
                raise ValueError(
                    f"{shown} drops everything (p = 1), so its noise variance is not finite"
                )
            layers[module] = shown, dropout_variance(p)
        elif is_dropout_layer(module) or is_variant(module) or is_classic(module):
            raise ValueError(
                f"{shown} is not dropout of single units, which this penalty requires; replace it "
                "by Dropout, or remove it"
            )
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            raise ValueError(f"{shown} mixes the rows of a batch in training; call eval() on it")
    if not layers:
        raise ValueError(f"{type(model).__name__} has no dropout layer; insert one")
    return layers


class _Place(NamedTuple):
    """A call of a dropout layer: name of the layer, variance of its mask, and input h."""

    layer: str
    variance: float
    h: Tensor


@contextmanager
def _record_calls(model: nn.Module, x: Tensor) -> Iterator[tuple[Tensor, list[_Place]]]:
    """Run the model without dropout, and yield its output and the calls of every dropout layer."""
    layers = unitwise_layers(model)
    places: list[_Place] = []

    def before(
        layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        (h,) = *args, *kwargs.values()
        # Clone once, so that the gradient only includes the path through this layer. Clone again,
        # because the next layer may work in place.
        h = h.clone().requires_grad_()
        places.append(_Place(*layers[layer], h))
        return (h.clone(),), {}

    modes = {layer: layer.training for layer in layers}
    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    try:
        for layer in layers:
            layer.training = False
        with torch.enable_grad():
            output = model(x)
            called = {place.layer for place in places}
            if missed := [shown for shown, _ in layers.values() if shown not in called]:
                raise ValueError(
                    f"{type(model).__name__} must call every dropout layer in forward, but it "
                    f"does not call {', '.join(missed)}; remove unused layers"
                )
            yield output, places
    finally:
        for hook in hooks:
            hook.remove()
        for layer, mode in modes.items():
            layer.training = mode


def _slopes(
    output: Tensor, places: list[_Place], along: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Return the derivatives with respect to all inputs h; 0 for an h without effect."""
    inputs = [place.h for place in places]
    return torch.autograd.grad(output, inputs, along, create_graph=True, materialize_grads=True)


def _units(output: Tensor) -> Iterator[Tensor]:
    """Yield vectors f with ``Σ f fᵀ = 2 I``, for each row."""
    for k in range(output.shape[1]):
        root = torch.zeros_like(output)
        root[:, k] = 2**0.5
        yield root


def _roots(logits: Tensor, exact: bool, generator: torch.Generator | None) -> Iterator[Tensor]:
    """Yield vectors f with ``Σ f fᵀ = diag(π) − ππᵀ``, exactly or in expectation, for each row."""
    log = logits.log_softmax(1)
    if exact:
        labels = [torch.full_like(log[:, :1], k, dtype=torch.long) for k in range(log.shape[1])]
    else:
        labels = [torch.multinomial(log.exp().detach(), 1, generator=generator)]
    for label in labels:
        weight = log.gather(1, label)
        if not exact:  # the value is 1, and its gradient is that of the label's log-probability
            weight = weight - weight.detach()
        yield (weight / 2).exp() * (torch.zeros_like(log).scatter(1, label, 1.0) - log.exp())

"""Compute the covariance of a network's outputs under dropout, with backward passes."""

from __future__ import annotations

import torch
from torch import Tensor

from dropkit.analytic._moments import MomentPropagation
from dropkit.analytic._rules.gaussian import Joint
from dropkit.analytic._rules.plan import Source

__all__ = ["Joint", "joint"]


def joint(twin: MomentPropagation, *inputs: Tensor, leading: int | None = None) -> Joint:
    """Return the mean of all outputs of a twin, and the covariance of the largest outputs.

    Let unit j have mean mⱼ and variance sⱼ². Dropout whose mask has variance v adds independent
    noise of variance ``v (mⱼ² + sⱼ²)`` to this unit. To first order, this noise changes output a by
    its value times ``∂E yₐ / ∂mⱼ``, so

    ``Cov(yₐ, y_b) = Σ_places Σⱼ (∂E yₐ/∂mⱼ) (∂E y_b/∂mⱼ) v (mⱼ² + sⱼ²)``,

    where the places are the dropout layers. The derivatives of the twin's means take one backward
    pass per selected output. Unlike the twin, the result includes the correlation of units that
    share a dropped input. The covariance ignores effects that are not linear in the noise; the
    means include them.

    Args:
        twin: the result of `moments`.
        *inputs: inputs of the model, with the rows along their first dimension.
        leading: number of outputs with the largest means in each row, which get a covariance.
            Default: all.

    Returns:
        A `Joint`, without gradients, which you can pass to `class_probabilities`.

    Raises:
        ValueError: the output is not (rows, outputs); ``leading`` is not between 1 and the number
            of outputs; the output of one row depends on the noise of another row.

    >>> from torch import nn
    >>> from dropkit.analytic import moments
    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2, bias=False))
    >>> _ = net[1].weight.data.copy_(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    >>> joint(moments(net), torch.tensor([[1.0, 2.0]])).covariance
    tensor([[[5., 1.],
             [1., 1.]]])

    The method is linear error propagation with the smoothed derivatives of fast dropout (Wang and
    Manning 2013). Fast dropout itself ignores correlations.
    """
    with torch.inference_mode(False), torch.enable_grad():
        given = [x.clone() if x.is_inference() else x for x in inputs]
        _check_rows(twin, given)
        output, sources = twin.linearized(*given)
        rows, outputs = output.mean.shape
        count = outputs if leading is None else leading
        if not 1 <= count <= outputs:
            raise ValueError(f"leading must be from 1 to the {outputs} outputs, got {leading}")
        chosen = (
            torch.arange(outputs, device=output.mean.device).expand(rows, -1)
            if leading is None
            else output.mean.topk(count).indices
        )
        picked = output.mean.gather(1, chosen)
        slopes = [_slopes(picked[:, k], sources) for k in range(count)]
    covariance = output.mean.new_zeros(rows, count, count)
    for source, *each in zip(sources, *slopes, strict=True):
        together = torch.stack(each, 1).flatten(2)
        covariance += (together * source.noise.flatten(1).unsqueeze(1)) @ together.mT
    variance = output.variance.scatter(1, chosen, covariance.diagonal(dim1=1, dim2=2))
    return Joint(output.mean.detach(), variance.detach(), chosen, covariance)


def _slopes(output: Tensor, sources: list[Source]) -> tuple[Tensor, ...]:
    """Return the derivatives of one output per row with respect to the units of every source."""
    return torch.autograd.grad(
        output.sum(), [s.mean for s in sources], retain_graph=True, materialize_grads=True
    )


def _check_rows(twin: MomentPropagation, inputs: list[Tensor]) -> None:
    """Test on two rows that rows are independent and stay along dimension 0; raise otherwise."""
    rule = (
        "the output of each row must only depend on the noise of this row, and rows must be the "
        "first dimension of the input, the output and every dropout layer; use the twin's own "
        "variance instead"
    )
    try:
        output, sources = twin.linearized(*(x[:2] for x in inputs))
    except RuntimeError as error:
        raise ValueError(f"{rule}: on two rows of the input the model fails: {error}") from error
    rows = len(inputs[0][:2])
    if output.mean.dim() != 2 or len(output.mean) != rows:
        raise ValueError(
            "the model's output must be (rows, outputs), got "
            f"{tuple(output.mean.shape)} for {rows} rows"
        )
    # Weight the outputs, because their plain sum may be constant, as after centring, and have no
    # gradient.
    weights = torch.ones_like(output.mean[:1]).cumsum(1).sqrt()
    slopes = _slopes(output.mean[:1] * weights, sources)
    if any(len(s.mean) != rows for s in sources) or any(slope[1:].any() for slope in slopes):
        raise ValueError(rule)

"""Zoneout: a unit of the recurrent state keeps its previous value."""

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.noise._base import RatedNoise
from dropkit.random._multiply import multiply


def zoneout(
    new: Tensor,
    old: Tensor,
    p: float | Tensor = 0.1,
    training: bool = True,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Keep each unit of the state at its previous value with probability p.

    In training ``y = old`` with probability p and ``new`` otherwise; in evaluation the mean, ``y =
    p·old + (1 − p)·new``.

    Args:
        new: state that the cell proposes; float32, float64, bfloat16 or float16; any shape.
        old: state at the previous time step, of the same shape and dtype.
        p: probability of keeping the old value, in [0, 1], rounded to a multiple of 2⁻¹⁶. Pass a
            scalar tensor to change it without recompiling.
        training: if false, return the mean instead of a sample; inside a module pass
            ``self.training``.
        seed: random seed of the mask; the mask equals ``keep_mask(shape, p, seed=seed)``; a unit
            takes the new value where the mask is true. Default: drawn from torch's default
            generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        The next state, a tensor like ``new``.

    Raises:
        TypeError: ``new`` is not a dense tensor of a supported floating type.
        ValueError: ``old`` has another shape or dtype; p, seed or stream out of range; both seed
            and generator given.

    >>> zoneout(torch.ones(2), torch.zeros(2), 0.25, training=False)
    tensor([0.7500, 0.7500])

    Reference: Krueger, Maharaj, Kramár, Pezeshki, Ballas, Ke, Goyal, Bengio, Courville & Pal,
    "Zoneout: regularizing RNNs by randomly preserving hidden activations" (2017).
    """
    if new.shape != old.shape or new.dtype != old.dtype:
        raise ValueError(
            "the new and the old state must have the same shape and dtype, got "
            f"{tuple(new.shape)}, {new.dtype} and {tuple(old.shape)}, {old.dtype}"
        )
    if not torch.compiler.is_compiling():
        p = check_probability(float(p))
    if training:
        ones = torch.ones_like(new, requires_grad=False)
        mask = multiply(
            ones, "bernoulli", p, seed=seed, stream=stream, generator=generator, as_mask=True
        )
        return torch.where(mask == 0, old, new)
    mean = p * old + (1 - p) * new
    return mean.to(new.dtype)


class Zoneout(RatedNoise):
    """Zoneout as a layer that combines the new and the old state of a recurrent cell.

    In training ``y = old`` with probability p and ``new`` otherwise; in evaluation the mean,
    ``p·old + (1 − p)·new``. Unlike dropout, the layer is not the identity in evaluation, so
    removing it changes the network.

    Args:
        p: probability that a unit keeps its old value, in [0, 1]. The paper uses different rates
            for an LSTM's hidden state and cell; use two layers for that.

    Raises:
        ValueError: p outside [0, 1]; at the call, states of different shapes or dtypes.

    >>> cell, keep_h, keep_c = torch.nn.LSTMCell(3, 5), Zoneout(0.05), Zoneout(0.5)
    >>> h = c = torch.zeros(2, 5)
    >>> for x in torch.ones(7, 2, 3):
    ...     new_h, new_c = cell(x, (h, c))
    ...     h, c = keep_h(new_h, h), keep_c(new_c, c)
    >>> h.shape
    torch.Size([2, 5])

    Reference: Krueger et al. (2017).
    """

    behind_any_layer = False  # only for pairs of states

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, new: Tensor, old: Tensor) -> Tensor:  # type: ignore[override]
        """Return the next state: a mixture of the new and the old one."""
        return zoneout(new, old, self._rate, self.training, seed=self.seed)

    def perturb(self, new: Tensor, old: Tensor) -> Tensor:  # type: ignore[override]
        """Return the next state with a fresh mask, in training and in evaluation."""
        return zoneout(new, old, self._rate, seed=self.seed)

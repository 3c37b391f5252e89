"""Locked dropout: one mask for all time steps of a sequence."""

from typing import Self, TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from dropkit._checks import check_probability
from dropkit.noise._base import MultiplicativeNoise, dropout_variance
from dropkit.noise._dropout import dropout

Sequences = TypeVar("Sequences", Tensor, PackedSequence)


def locked_dropout(
    x: Sequences,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    batch_first: bool = False,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Sequences:
    """Zero each feature of a sequence at all time steps with probability p, and scale the others.

    ``y[t, n, i] = x[t, n, i] · m[n, i]``, m = 0 with probability p and 1/(1 − p) otherwise.

    Args:
        x: (T, N, F), (N, T, F) if ``batch_first``, (T, F) for one sequence, or a
            ``PackedSequence``; float32, float64, bfloat16 or float16. A packed sequence gets the
            same masks as its padded form.
        p: probability of dropping, in [0, 1]. Pass a scalar tensor to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        batch_first: whether the batch is the first dimension; has no effect on one sequence or a
            ``PackedSequence``.
        seed: random seed of the mask, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor or ``PackedSequence`` like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: ``x`` has the wrong number of dimensions; p, seed or stream out of range; both
            seed and generator given.

    >>> y = locked_dropout(torch.ones(100, 2, 8), 0.5)
    >>> bool((y == y[:1]).all())
    True

    Reference: Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent
    neural networks" (2016). The paper also masks the state between time steps, which a layer
    outside the recurrent layer cannot do; for this see ``WeightDrop`` and ``Zoneout``.
    """
    if isinstance(x, PackedSequence):
        return _packed(x, p, seed, stream, generator) if training else x
    if x.dim() not in (2, 3):
        expected = "(N, T, F)" if batch_first else "(T, N, F)"
        raise ValueError(
            f"x must be {expected}, (T, F) for one sequence, or a PackedSequence, got shape "
            f"{tuple(x.shape)}; for images use Dropout2d"
        )
    time = 1 if batch_first and x.dim() == 3 else 0
    return dropout(
        x, p, training, shared_dims=(time,), seed=seed, stream=stream, generator=generator
    )


def _packed(
    x: PackedSequence,
    p: float | Tensor,
    seed: int | Tensor | None,
    stream: int | None,
    generator: torch.Generator | None,
) -> PackedSequence:
    sequences = int(x.batch_sizes[0])
    exact = torch.promote_types(x.data.dtype, torch.float32)
    ones = torch.ones(sequences, *x.data.shape[1:], dtype=exact, device=x.data.device)
    noise = dropout(ones, p, seed=seed, stream=stream, generator=generator)
    if x.sorted_indices is not None:
        noise = noise[x.sorted_indices]
    # Time step t holds the first batch_sizes[t] sequences.
    noise = torch.cat([noise[:size] for size in x.batch_sizes.tolist()])
    data = (x.data * noise).to(x.data.dtype).masked_fill(noise == 0, 0)
    return PackedSequence(data, x.batch_sizes, x.sorted_indices, x.unsorted_indices)


class LockedDropout(MultiplicativeNoise):
    """Locked dropout as a layer: one mask for all time steps.

    Some authors call this variational dropout. It is not the layer ``VariationalDropout``, which
    learns the noise of every weight.

    ``y[t, n, i] = x[t, n, i] · m[n, i]``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In
    evaluation, the layer is the identity. Input and output have the layouts of ``nn.LSTM``: (T, N,
    F), (N, T, F) if ``batch_first``, (T, F), or a ``PackedSequence``.

    Args:
        p: probability of dropping, in [0, 1].
        batch_first: whether the batch is the first dimension.

    Raises:
        ValueError: p outside [0, 1]; at the call, an input with the wrong number of dimensions.

    >>> LockedDropout(0.3, batch_first=True)
    LockedDropout(p=0.3, batch_first=True)

    Reference: Gal & Ghahramani (2016).
    """

    behind_any_layer = False  # only for sequences

    def __init__(self, p: float = 0.5, *, batch_first: bool = False) -> None:
        super().__init__(p)
        self.batch_first = batch_first

    @classmethod
    def from_keep_prob(cls, q: float, *, batch_first: bool = False) -> Self:
        """Create the layer from the probability of *keeping*: ``LockedDropout(1 − q)``."""
        return cls(1.0 - check_probability(q, "q"), batch_first=batch_first)

    @property
    def variance(self) -> float:
        """Variance of the noise, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Sequences) -> Sequences:
        """Return ``x`` with fresh masks, in training and in evaluation."""
        return locked_dropout(x, self._rate, batch_first=self.batch_first, seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate and the order of the dimensions."""
        return f"{super().extra_repr()}, batch_first={self.batch_first}"

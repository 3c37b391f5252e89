"""Word dropout: replace tokens of the input by the unknown token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from dropkit.noise._base import RatedNoise
from dropkit.random._multiply import multiply


def word_dropout(
    tokens: Tensor,
    p: float | Tensor = 0.1,
    training: bool = True,
    *,
    unknown: int,
    keep_tokens: Sequence[int] = (),
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Replace each token by the unknown token with probability p.

    ``y[i] = unknown`` with probability p and ``tokens[i]`` otherwise. Tokens in ``keep_tokens`` are
    never replaced.

    Args:
        tokens: token indices, int64 or int32; any shape.
        p: probability of dropping, in [0, 1], rounded to a multiple of 2⁻¹⁶. Pass a scalar tensor
            to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        unknown: index of the unknown token.
        keep_tokens: indices that are never dropped, such as padding and end tokens.
        seed: random seed of the mask; the mask equals ``keep_mask(shape, p, seed=seed)``. Default:
            drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``tokens``; in evaluation ``tokens`` itself.

    Raises:
        TypeError: ``tokens`` are not integers.
        ValueError: p, seed or stream out of range; both seed and generator given.

    >>> word_dropout(torch.tensor([5, 6, 0, 0]), 1.0, unknown=1, keep_tokens=[0])
    tensor([1, 1, 0, 0])

    Reference: Bowman, Vilnis, Vinyals, Dai, Jozefowicz & Bengio, "Generating sentences from a
    continuous space" (2016).
    """
    if tokens.dtype not in (torch.int64, torch.int32):
        raise TypeError(
            f"tokens must be int64 or int32 indices, got {tokens.dtype}; for vectors use "
            "EmbeddingDropout or Dropout"
        )
    if not training:
        return tokens
    ones = torch.ones(tokens.shape, device=tokens.device)
    mask = multiply(ones, "bernoulli", p, seed=seed, stream=stream, generator=generator)
    dropped = mask == 0
    for token in keep_tokens:
        dropped = dropped & (tokens != token)
    return tokens.masked_fill(dropped, unknown)


class WordDropout(RatedNoise):
    """Word dropout as a layer before an embedding: replaces tokens by the unknown token.

    ``y[i] = unknown`` with probability p and ``tokens[i]`` otherwise. Tokens in ``keep_tokens`` are
    never replaced. In evaluation, the layer is the identity.

    Args:
        p: probability of dropping a token, in [0, 1].
        unknown: index of the unknown token.
        keep_tokens: indices that are never dropped, such as padding and end tokens.

    Raises:
        ValueError: p outside [0, 1].

    >>> layer = WordDropout(0.1, unknown=1, keep_tokens=[0])
    >>> layer
    WordDropout(p=0.1, unknown=1, keep_tokens=(0,))

    Reference: Bowman et al. (2016).
    """

    behind_any_layer = False  # only for tokens

    def __init__(self, p: float = 0.1, *, unknown: int, keep_tokens: Sequence[int] = ()) -> None:
        super().__init__(p)
        self.unknown = unknown
        self.keep_tokens = tuple(keep_tokens)

    def perturb(self, x: Tensor) -> Tensor:
        """Return the tokens with a fresh mask, in training and in evaluation."""
        return word_dropout(
            x, self._rate, unknown=self.unknown, keep_tokens=self.keep_tokens, seed=self.seed
        )

    def extra_repr(self) -> str:
        """Show the rate, the unknown token and the tokens that are never dropped."""
        return f"{super().extra_repr()}, unknown={self.unknown}, keep_tokens={self.keep_tokens}"

"""Embedding dropout: drop whole word types, everywhere in the batch."""

from typing import Any

import torch
from torch import Tensor, nn

from dropkit.noise._called import Showing
from dropkit.noise._dropout import Dropout


class EmbeddingDropout(Showing):
    """An embedding that drops whole word types: all occurrences of a token, or none.

    ``y[…, :] = W[token] · m[token]``. Each call draws one m ∈ {0, 1/(1 − p)} for each row of the
    table; E m = 1, Var m = p/(1 − p). In evaluation the output is ``W[token]``.

    Args:
        embedding: an ``nn.Embedding``; its options (padding, sparse gradients, …) keep their
            meaning. A subclass with its own forward pass (for example, a learned position
            embedding) may take any arguments. It reads a copy of the table in which the dropped
            rows are zero.
        p: probability of dropping a word type, in [0, 1]; to change p, set ``layer.drop.p``.

    Raises:
        TypeError: ``embedding`` is not an ``nn.Embedding``.
        ValueError: p outside [0, 1]; an embedding with its own forward pass and ``max_norm``, which
            would limit the norms again after scaling.

    >>> layer = EmbeddingDropout(nn.Embedding(10, 4), p=0.5)
    >>> y = layer(torch.tensor([[7, 3, 7]]))
    >>> bool((y[0, 0] == y[0, 2]).all())
    True

    Reference: Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent
    neural networks" (2016). For an ordinary ``nn.Embedding``, the mask multiplies the looked-up
    vectors, not the table. The result is the same, without a copy of the table.
    """

    _held = "embedding"

    def __init__(self, embedding: nn.Embedding, p: float = 0.1) -> None:
        super().__init__()
        if not isinstance(embedding, nn.Embedding):
            raise TypeError(
                f"embedding must be an nn.Embedding, got {type(embedding).__name__}; to drop "
                "features of any vectors use Dropout"
            )
        if not _looks_up(embedding) and embedding.max_norm is not None:
            raise ValueError(
                f"embedding must have no max_norm, because {type(embedding).__name__} has its own "
                f"forward pass, got max_norm={embedding.max_norm}; limit norms with max_norm_"
            )
        self.embedding = embedding
        self.drop = Dropout(p)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the embedding's output, with zero vectors for dropped word types."""
        if not self.drop.training:
            return self.embedding(*args, **kwargs)
        table = self.embedding.weight
        exact = torch.promote_types(table.dtype, torch.float32)
        noise: Tensor = self.drop(torch.ones(len(table), dtype=exact, device=table.device))
        if _looks_up(self.embedding):
            (tokens,) = *args, *kwargs.values()
            return _multiply(self.embedding(tokens), noise[tokens])
        # A shallow copy with its own table does not affect the parameter or other threads.
        copied: Any = object.__new__(type(self.embedding))
        vars(copied).update(vars(self.embedding), weight=_multiply(table, noise))
        return copied(*args, **kwargs)


def _looks_up(embedding: nn.Embedding) -> bool:
    return type(embedding).forward is nn.Embedding.forward


def _multiply(vectors: Tensor, noise: Tensor) -> Tensor:
    noise = noise.unsqueeze(-1)
    return (vectors * noise).to(vectors.dtype).masked_fill(noise == 0, 0)

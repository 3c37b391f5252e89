"""Embedding dropout: whole word types fall, wherever they occur in the batch."""

import torch
from torch import Tensor, nn

from dropkit.noise._called import Showing
from dropkit.noise._dropout import Dropout


class EmbeddingDropout(Showing):
    """An embedding that drops whole word types: all occurrences of a token, or none.

    ``y[…, :] = W[token] · m[token]``, with one m ∈ {0, 1/(1 − p)} for each row of the table and
    each call, E m = 1, Var m = p/(1 − p); in evaluation ``W[token]``.

    Args:
        embedding: the ``nn.Embedding`` to look up in; its options (padding, sparse gradients, …)
            keep their meaning.
        p: probability of dropping a word type, in [0, 1]; change it as ``layer.drop.p``.

    Raises:
        TypeError: ``embedding`` is not an ``nn.Embedding``.
        ValueError: p outside [0, 1].

    >>> layer = EmbeddingDropout(nn.Embedding(10, 4), p=0.5)
    >>> y = layer(torch.tensor([[7, 3, 7]]))
    >>> bool((y[0, 0] == y[0, 2]).all())
    True

    Reference: Gal & Ghahramani, "A theoretically grounded application of dropout in recurrent
    neural networks" (2016). The mask multiplies the vectors that were looked up, not the table: the
    same numbers without the cost of a table's copy.
    """

    _held = "embedding"

    def __init__(self, embedding: nn.Embedding, p: float = 0.1) -> None:
        super().__init__()
        if not isinstance(embedding, nn.Embedding):
            raise TypeError(
                f"embedding must be an nn.Embedding, got {type(embedding).__name__}; to drop "
                "features of any vectors use Dropout"
            )
        self.embedding = embedding
        self.drop = Dropout(p)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors of ``tokens``, those of dropped word types zero."""
        vectors: Tensor = self.embedding(tokens)
        if not self.drop.training:
            return vectors
        table = self.embedding.weight
        exact = torch.promote_types(table.dtype, torch.float32)
        types = torch.ones(len(table), dtype=exact, device=table.device)
        noise: Tensor = self.drop(types)[tokens].unsqueeze(-1)
        return (vectors * noise).to(vectors.dtype).masked_fill(noise == 0, 0)

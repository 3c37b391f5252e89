"""PatchDropout: train a vision transformer faster, on a random part of its tokens."""

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.noise._base import Noise
from dropkit.random._multiply import multiply
from dropkit.random.seed import as_seed, settle

_SECOND = 1 << 63  # the offset of the stream that ``kept_patches`` uses to break ties


def patch_dropout(
    x: Tensor,
    p: float = 0.5,
    training: bool = True,
    *,
    prefix: int = 1,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Remove a random share p of each sample's tokens; the kept tokens stay in order.

    ``y[n] = x[n, kept[n]]``. The first ``prefix`` tokens always stay. Of the N others, K = N −
    round(p·N) stay, and every set of K tokens is equally likely. Nothing is rescaled.

    Args:
        x: (…, prefix + N, D), tokens after the position embedding was added; any dtype.
        p: share of the tokens to drop, in [0, 1]. p determines the output's shape, so compiled code
            recompiles for a new rate.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        prefix: how many leading tokens always stay, such as the class token.
        seed: random seed of the choice; ``kept_patches`` with the same seed returns the same
            tokens. Default: drawn from torch's default generator.
        stream: index of the random stream, below 2⁶³; each stream of a seed gives an independent
            choice. Default: 0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        (…, prefix + K, D); in evaluation ``x`` itself.

    Raises:
        ValueError: ``x`` has fewer than two dimensions, or fewer than ``prefix`` tokens; p, seed
            or stream out of range; both seed and generator given.

    >>> tokens = torch.arange(9.0).reshape(1, 9, 1)
    >>> patch_dropout(tokens, 0.5, seed=0).flatten()
    tensor([0., 1., 3., 4., 7.])

    Reference: Liu, Matsoukas, Strand, Azizpour & Smith, "PatchDropout: economizing vision
    transformers using patch dropout" (2023).
    """
    if x.dim() < 2:
        raise ValueError(f"x must be (…, tokens, features), got shape {tuple(x.shape)}")
    if not training:
        check_probability(p)
        return x
    key, stream = settle(x, seed, stream, generator, torch.compiler.is_compiling())
    kept = kept_patches(x.shape[:-1], p, prefix=prefix, seed=key, stream=stream)
    return x.take_along_dim(kept.unsqueeze(-1), dim=-2)


def kept_patches(
    shape: tuple[int, ...],
    p: float,
    *,
    prefix: int = 1,
    seed: int | Tensor,
    stream: int = 0,
) -> Tensor:
    """Return which tokens ``patch_dropout`` keeps for a seed.

    Use the result to select other data of the same tokens, such as their positions.

    Args:
        shape: (…, prefix + N), the shape of the input without its features.
        p: share of the tokens to drop, in [0, 1].
        prefix: how many leading tokens always stay.
        seed: an int in [0, 2⁶⁴), or a scalar tensor from ``draw_seed``; the result is on the device
            of such a tensor.
        stream: index of the random stream, below 2⁶³; each stream of a seed gives an independent
            choice.

    Returns:
        Indices (…, prefix + K), int64, ascending.

    Raises:
        ValueError: fewer than ``prefix`` tokens; p, seed or stream out of range.

    >>> kept_patches((2, 9), 0.5, seed=0)
    tensor([[0, 1, 3, 4, 7],
            [0, 1, 2, 6, 7]])
    """
    if not torch.compiler.is_compiling():
        check_probability(p)
    *batch, length = shape
    count = length - _check_prefix(prefix)
    if count < 0:
        raise ValueError(f"x must have the {prefix} tokens of the prefix, got {length} in all")
    key = as_seed(seed)
    ones = torch.ones([*batch, count], dtype=torch.float64, device=key.device)
    # Normal numbers of the mask engine are multiples of 2⁻²⁰ below 4.4. Ties would favour the first
    # token. Adding a second, much smaller number reduces ties to one pair in 2³².
    high = multiply(ones, "gaussian", 0.5, seed=key, stream=stream)
    low = multiply(ones, "gaussian", 0.5, seed=key, stream=stream ^ _SECOND)
    score = high + low * 2.0**-24
    drawn = score.topk(count - round(p * int(count)), sorted=False).indices.sort().values
    always = torch.arange(prefix, device=key.device).expand(*batch, prefix)
    return torch.cat([always, drawn + prefix], dim=-1)


def _check_prefix(prefix: int) -> int:
    if not isinstance(prefix, int) or prefix < 0:
        raise ValueError(f"prefix must be an int, 0 or more, got {prefix!r}")
    return prefix


class PatchDropout(Noise):
    """PatchDropout as a layer after the position embedding: drops a share p of the tokens.

    ``(…, prefix + N, D) → (…, prefix + K, D)``, K = N − round(p·N); each sample keeps its own
    random choice of tokens. In evaluation the layer is the identity.

    Args:
        p: share of the tokens to drop, in [0, 1]; at 1 only the prefix is left. Setting ``layer.p``
            changes the output's shape, so a compiled model recompiles.
        prefix: how many leading tokens always stay, such as the class token; 0 for none.

    Raises:
        ValueError: p outside [0, 1]; prefix not an int of 0 or more; at the call, an input with
            fewer than two dimensions, or fewer tokens than the prefix.

    >>> layer = PatchDropout(0.5)
    >>> layer(torch.randn(8, 1 + 196, 64)).shape
    torch.Size([8, 99, 64])

    Reference: Liu et al. (2023).
    """

    def __init__(self, p: float = 0.5, *, prefix: int = 1) -> None:
        super().__init__()
        self.p = p
        self.prefix = _check_prefix(prefix)

    @property
    def p(self) -> float:
        """The share of the tokens to drop."""
        return self._p

    @p.setter
    def p(self, p: float) -> None:
        self._p = check_probability(p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return freshly chosen tokens, in training and in evaluation."""
        return patch_dropout(x, self.p, prefix=self.prefix, seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate and the prefix."""
        return f"p={self.p:g}, prefix={self.prefix}"

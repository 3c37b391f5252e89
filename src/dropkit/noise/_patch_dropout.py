"""PatchDropout: a vision transformer trains on a random part of its tokens, in less time."""

import torch
from torch import Tensor

from dropkit._checks import check_probability
from dropkit.noise._base import Noise
from dropkit.random._multiply import multiply
from dropkit.random.seed import as_seed, settle

_SECOND = 1 << 63  # the stream of the lower digits


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
    """Take a share p of each sample's tokens out, at random; the others stay in their order.

    ``y[n] = x[n, kept[n]]``, the first ``prefix`` tokens and K of the N others, each set of K
    with the same probability, K = N − round(p·N). Nothing is rescaled.

    Args:
        x: (…, prefix + N, D), tokens that already know their position; any dtype.
        p: share of the tokens to drop, in [0, 1]. The output's shape follows from it, so that a
            program compiled for one rate is compiled again for another.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        prefix: how many leading tokens always stay, such as the class token.
        seed: fixes the tokens that ``kept_patches`` shows. Default: drawn from torch's default
            generator.
        stream: independent choices under one seed, below 2⁶³. Default: 0, and the data-parallel
            rank if the seed is drawn.
        generator: a generator to draw the seed from instead.

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
    """Return which tokens ``patch_dropout`` keeps under a seed, for what else belongs to them.

    Args:
        shape: (…, prefix + N), the shape of the input without its features.
        p: share of the tokens to drop, in [0, 1].
        prefix: how many leading tokens always stay.
        seed: 64 unsigned bits, or a scalar tensor from ``draw_seed``; the result is on its device.
        stream: independent choices under one seed, below 2⁶³.

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
    # Normal numbers of the mask engine are multiples of 2⁻²⁰ below 4.4. A second one below that
    # grid makes ties, which would favour the first token, a matter of one pair in 2³².
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

    ``(…, prefix + N, D) → (…, prefix + K, D)``, K = N − round(p·N), for each sample tokens of its
    own; the identity in evaluation.

    Args:
        p: share of the tokens to drop, in [0, 1]; at 1 the prefix alone is left. Setting
            ``layer.p`` changes the output's shape, so that a compiled model is compiled again.
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
        """Return the tokens of a fresh choice, whatever the mode."""
        return patch_dropout(x, self.p, prefix=self.prefix, seed=self.seed)

    def extra_repr(self) -> str:
        """Show the rate and the prefix."""
        return f"p={self.p:g}, prefix={self.prefix}"

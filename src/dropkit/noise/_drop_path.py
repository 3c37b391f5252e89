"""Stochastic depth: drop whole residual branches, separately for each sample."""

import torch
from torch import Tensor, nn

from dropkit._checks import is_unrolled
from dropkit.noise._base import HoldsNoise, MultiplicativeNoise, dropout_variance
from dropkit.noise._dropout import dropout


def drop_path(
    x: Tensor,
    p: float | Tensor = 0.5,
    training: bool = True,
    *,
    seed: int | Tensor | None = None,
    stream: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Zero each sample with probability p and multiply the others by 1/(1 − p).

    ``y[n, …] = x[n, …] · m[n]``, m = 0 with probability p and 1/(1 − p) otherwise.

    Args:
        x: (N, …), the output of a residual branch; float32, float64, bfloat16 or float16.
        p: probability of dropping, in [0, 1]. Pass a scalar tensor to change p without recompiling.
        training: if false, the function is the identity; inside a module pass ``self.training``.
        seed: random seed of the mask, 64 bits. Default: drawn from torch's default generator.
        stream: index of the random stream; each stream of a seed gives independent masks. Default:
            0 if ``seed`` is given, otherwise the data-parallel rank.
        generator: draw the seed from this generator instead of torch's default one.

    Returns:
        A tensor like ``x``; in evaluation ``x`` itself.

    Raises:
        TypeError: ``x`` is not a dense tensor of a supported floating type.
        ValueError: ``x`` has no dimension; p, seed or stream out of range; both seed and
            generator given.

    >>> y = drop_path(torch.ones(8, 100), 0.5)
    >>> bool((y == y[:, :1]).all())
    True

    Reference: Huang, Sun, Liu, Sedra & Weinberger, "Deep networks with stochastic depth" (2016).
    The paper drops a branch for the whole mini-batch, and multiplies its output by the keep
    probability at test time. This function drops the branch for each sample separately, and divides
    its output by the keep probability in training.
    """
    if x.dim() == 0:
        raise ValueError("x must be (N, …) with a sample in each row, got a scalar")
    shared = tuple(range(1, x.dim()))
    return dropout(
        x, p, training, shared_dims=shared, seed=seed, stream=stream, generator=generator
    )


class DropPath(MultiplicativeNoise):
    """Stochastic depth as a layer: use it at the end of a residual branch.

    ``y[n, …] = x[n, …] · m[n]``, m ∈ {0, 1/(1 − p)}, E m = 1, Var m = p/(1 − p). In evaluation, the
    layer is the identity. ``StochasticDepth`` also saves the computation for the dropped samples.

    Args:
        p: probability of dropping a sample's branch, in [0, 1].

    Raises:
        ValueError: p outside [0, 1].

    >>> branch = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), DropPath(0.2))
    >>> x = torch.ones(3, 4)
    >>> (x + branch(x)).shape
    torch.Size([3, 4])

    Reference: Huang et al. (2016).
    """

    behind_any_layer = False  # only at the end of a residual branch

    @property
    def variance(self) -> float:
        """Variance of the noise, p/(1 − p)."""
        return dropout_variance(self.p)

    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with a fresh mask, in training and in evaluation."""
        return drop_path(x, self._rate, seed=self.seed)


class StochasticDepth(nn.Module, HoldsNoise):
    """A residual block with stochastic depth, whose branch runs only on the kept samples.

    ``y[n] = x[n] + m[n] · branch(x)[n]``, m ∈ {0, 1/(1 − p)}; in evaluation ``x + branch(x)``. If
    the branch treats every sample independently, the output and the gradients equal those of ``x +
    drop_path(branch(x))`` with the same masks, without the computation for dropped samples.

    Batch normalization inside the branch computes its statistics over the kept samples. Batch
    normalization raises an error if only one sample is kept and samples have no spatial dimensions.

    Args:
        branch: a module that maps (N, …) to the same shape.
        p: probability of dropping a sample's branch, in [0, 1]; to change p, set ``block.drop.p``.

    Raises:
        ValueError: p outside [0, 1]; at the call, a branch that changes the shape.

    >>> block = StochasticDepth(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), p=0.2)
    >>> block(torch.ones(3, 4)).shape
    torch.Size([3, 4])

    Reference: Huang et al. (2016). If no sample is kept, the branch runs on the first sample with
    factor 0, so that its parameters always get a gradient. Compiled code, traced code and the
    transforms of ``torch.func`` run the branch on all samples, because the number of kept samples
    is unknown at that time. The result is the same if the branch treats every sample independently
    and draws no noise.
    """

    def __init__(self, branch: nn.Module, p: float = 0.5) -> None:
        super().__init__()
        self.branch = branch
        self.drop = DropPath(p)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, plus the output of the branch for the kept samples."""
        if not self.drop.training or not len(x):
            return x + self._run(x)
        if is_unrolled():
            masked: Tensor = self.drop(self._run(x))
            return x + masked
        exact = torch.promote_types(x.dtype, torch.float32)
        noise = self.drop(torch.ones(len(x), device=x.device, dtype=exact))
        kept = noise.nonzero().squeeze(1)
        if not len(kept):
            nothing = torch.ones((), dtype=torch.bool, device=x.device)
            return x + self._run(x[:1]).masked_fill(nothing, 0)
        out = self._run(x[kept])
        out = (out * noise[kept].view(-1, *[1] * (x.dim() - 1))).to(out.dtype)
        dtype = torch.promote_types(x.dtype, out.dtype)
        return x.to(dtype).index_add(0, kept, out.to(dtype))

    def _run(self, x: Tensor) -> Tensor:
        out: Tensor = self.branch(x)
        if out.shape != x.shape:
            raise ValueError(
                f"the branch must keep the shape of its input, {tuple(x.shape)}, got "
                f"{tuple(out.shape)}; project inside the branch, or use DropPath"
            )
        return out

"""Mean and variance of pooling over independent normal units."""

import itertools
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from dropkit.analytic._rules.activations import deviation, maximum
from dropkit.analytic._rules.gaussian import Gaussian

_MAX: Any = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_AVERAGE: Any = {2: F.avg_pool2d, 3: F.avg_pool3d}
_ADAPTIVE: Any = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def average_pool(
    dims: int,
    x: Gaussian,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Gaussian:
    """Average over n units: ``Var = Σ s² / n²``; exact."""
    if dims == 1:  # pool an image of height 1, because avg_pool1d has no divisor_override
        row = Gaussian(x.mean.unsqueeze(-2), x.variance.unsqueeze(-2))
        kernel, step = _each(1, kernel_size), _each(1, stride or kernel_size)
        more = (ceil_mode, count_include_pad, divisor_override)
        pooled = average_pool(2, row, (1, *kernel), (1, *step), (0, *_each(1, padding)), *more)
        return Gaussian(pooled.mean.squeeze(-2), pooled.variance.squeeze(-2))

    def pool(t: Tensor, divisor: int | None = divisor_override) -> Tensor:
        pooled: Tensor = _AVERAGE[dims](
            t, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor
        )
        return pooled

    # The ratio is 1/n, where n is the divisor; at the border it may differ from the number of
    # units.
    ones = x.mean.new_ones([1] * (x.mean.dim() - dims) + list(x.mean.shape[-dims:]))
    return Gaussian(pool(x.mean), pool(x.variance) * (pool(ones) / pool(ones, 1)))


def adaptive_average_pool(dims: int, x: Gaussian, output_size: Any) -> Gaussian:
    """Average over windows that are chosen for an output size; exact."""
    mean = _ADAPTIVE[dims](x.mean, output_size)
    variance = _ADAPTIVE[dims](x.variance, output_size)
    for dim in range(-dims, 0):
        size, outputs = x.mean.shape[dim], mean.shape[dim]
        ends = [(-(-(i + 1) * size // outputs), i * size // outputs) for i in range(outputs)]
        units = variance.new_tensor([end - start for end, start in ends])
        variance = variance / units.view(-1, *[1] * (-dim - 1))
    return Gaussian(mean, variance)


def max_pool(
    dims: int,
    x: Gaussian,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Gaussian:
    """Maximum of each window, computed from pairs of units as in a tournament (Clark 1961).

    Exact for windows of two units. For larger windows, the maximum of each pair is approximated as
    normal.
    """
    kernel, step = _each(dims, kernel_size), _each(dims, stride or kernel_size)
    pad, spread = _each(dims, padding), _each(dims, dilation)
    sizes = _MAX[dims](x.mean.detach(), kernel, step, pad, spread, ceil_mode).shape[-dims:]
    # The position where the last window ends.
    reach = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(sizes, step, kernel, spread, strict=True)
    ]
    margins = [
        (p, max(0, r - p - size))
        for p, r, size in zip(pad, reach, x.mean.shape[-dims:], strict=True)
    ]
    if any(map(any, margins)):
        # Pad with a value below all units, but finite, because ∞ − ∞ is NaN.
        floor = (x.mean - 40 * deviation(x.variance)).min().item() - 1
        flat = [side for margin in reversed(margins) for side in margin]
        x = Gaussian(F.pad(x.mean, flat, value=floor), F.pad(x.variance, flat))
    windows = []
    for offsets in itertools.product(*map(range, kernel)):
        at: Any = tuple(
            slice(o * d, o * d + (n - 1) * s + 1, s)
            for o, d, n, s in zip(offsets, spread, sizes, step, strict=True)
        )
        windows.append(Gaussian(x.mean[(..., *at)], x.variance[(..., *at)]))
    while len(windows) > 1:
        pairs = [maximum(a, b) for a, b in zip(windows[::2], windows[1::2], strict=False)]
        windows = pairs + windows[2 * len(pairs) :]
    return windows[0]


def _each(dims: int, size: Any) -> tuple[int, ...]:
    return (size,) * dims if isinstance(size, int) else tuple(size)

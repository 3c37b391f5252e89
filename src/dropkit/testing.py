"""Check that your own layer satisfies the contract of a noise layer."""

import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["check_noise"]

Variance = Callable[[Tensor], Tensor]

_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_noise(
    layer: nn.Module | Callable[[], nn.Module],
    *,
    variance: Variance | None = None,
    shape: tuple[int, ...] = (8, 4, 6),
    calls: int = 2000,
    z: float = 6.0,
    seed: int = 0,
) -> None:
    """Check that a layer adds noise with mean zero to its input and satisfies the contract below.

    ============== ===============================================================================
    check          what must hold
    ============== ===============================================================================
    eval           ``eval()`` is exactly the identity and draws no random numbers
    variance       in training ``Var[y | x]`` is as stated, for each element
    mean           ``E[y | x] = x``, for each element, up to one rounding of each dtype
    seed           the same ``torch.manual_seed`` gives the same noise
    copies         copies by ``deepcopy`` and ``pickle`` draw the same noise
    gradient       the gradient uses the noise that the forward pass drew
    infinite input neither outputs nor gradients are NaN
    layout         noise depends on an element's index, not on its position in memory
    empty input    is returned unchanged
    p = 0          is the identity, if the layer has a rate ``p``
    p = 1          gives zeros, also for infinite input, unless the layer refuses that rate
    ============== ===============================================================================

    Args:
        layer: the layer, or a function that creates one. The checks use copies.
        variance: Var[y | x] as a function of x, elementwise. By default ``x² · layer.variance``, as
            for multiplicative noise.
        shape: shape of the inputs, with two or more dimensions.
        calls: number of draws to measure mean and variance in float64. Each other dtype uses a
            quarter of them.
        z: number of standard errors by which a mean may deviate. With the default, the mean of one
            element of a correct layer deviates more with probability 2·10⁻⁹.
        seed: seed of the draws; the same seed gives the same result. The state of torch's generator
            is restored at the end.

    Raises:
        AssertionError: a check failed; the message contains the name of the check, the expected
            result and the actual result.

    >>> from dropkit.noise import Dropout
    >>> check_noise(Dropout(0.3))
    >>> check_noise(nn.Identity(), variance=lambda x: 0.25 * x**2)
    Traceback (most recent call last):
    AssertionError: Identity(), variance: Var[y | x] / stated variance must be 1, but the draws
    give 0 at element 0, beyond 6 standard errors
    """
    made = layer if isinstance(layer, nn.Module) else layer()
    _Contract(made, variance, shape, calls, z, seed).check()


class _Contract:
    def __init__(
        self,
        layer: nn.Module,
        variance: Variance | None,
        shape: tuple[int, ...],
        calls: int,
        z: float,
        seed: int,
    ) -> None:
        self.layer, self.shape, self.calls, self.z, self.seed = layer, shape, calls, z, seed
        self.variance = variance if variance is not None else self._multiplicative
        self.name = "setup"

    def check(self) -> None:
        checks: dict[str, Callable[[], None]] = {
            "eval": self.evaluation,
            "moments": self.moments,
            "seed": self.seeds,
            "copies": self.copies,
            "gradient": self.gradient,
            "infinite input": self.infinite,
            "layout": self.layout,
            "empty input": self.empty,
            "p = 0": self.never,
            "p = 1": self.always,
        }
        with torch.random.fork_rng(devices=[]):
            for self.name, check in checks.items():
                torch.manual_seed(self.seed)
                try:
                    check()
                except Exception as error:
                    if isinstance(error, AssertionError):
                        raise
                    raise AssertionError(f"{self.layer}, {self.name}: raised {error!r}") from error

    # Tools

    def fresh(self, *, p: float | None = None) -> Any:
        layer: Any = deepcopy(self.layer).train()
        if p is not None:
            layer.p = p
        return layer

    def input(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return distinct positive and negative numbers, not close to zero."""
        count = torch.Size(self.shape).numel()
        x = torch.linspace(0.5, 2.0, count, dtype=torch.float64)
        x[1::2] *= -1
        return x.reshape(self.shape).to(dtype)

    def draw(self, layer: nn.Module, x: Tensor) -> Tensor:
        torch.manual_seed(self.seed)
        y: Tensor = layer(x)
        return y

    def require(self, holds: bool | Tensor, message: str) -> None:
        if not holds:
            raise AssertionError(f"{self.layer}, {self.name}: {message}")

    def require_same(self, found: Tensor, expected: Tensor, message: str) -> None:
        self.require(
            found.dtype == expected.dtype,
            f"{message}: dtype must be {expected.dtype}, got {found.dtype}",
        )
        self.require(
            found.shape == expected.shape,
            f"{message}: shape must be {tuple(expected.shape)}, got {tuple(found.shape)}",
        )
        equal = (found == expected) | (found.isnan() & expected.isnan())
        self.require(
            equal.all(), f"{message}, but {int((~equal).sum())} of {equal.numel()} elements differ"
        )

    def _multiplicative(self, x: Tensor) -> Tensor:
        self.require(
            hasattr(self.layer, "variance"),
            "the layer must state the variance of its noise; give it a property 'variance', or "
            "pass variance=...",
        )
        variance: Any = self.layer.variance
        return x.square() * float(variance)

    def require_mean(self, found: Tensor, expected: Tensor, slack: Tensor, what: str) -> None:
        off = (found - expected).abs() - slack
        worst = int(off.nan_to_num(nan=torch.inf).argmax())
        self.require(
            (off <= 0).all(),
            f"{what} must be {expected.flatten()[worst]:.5g}, but the draws give "
            f"{found.flatten()[worst]:.5g} at element {worst}, beyond {self.z:g} standard errors",
        )

    def draws(self, x: Tensor) -> Tensor:
        layer = self.fresh()
        # Low precision uses the same noise as float64; fewer calls suffice to find its rounding
        # errors.
        calls = self.calls if x.dtype is torch.float64 else self.calls // 4
        draws = [layer(x) for _ in range(calls)]
        shape = draws[0].shape
        self.require(shape == x.shape, f"shape must be {tuple(x.shape)}, got {tuple(shape)}")
        return torch.stack(draws)

    # Checks

    def evaluation(self) -> None:
        layer = self.fresh().eval()
        for dtype in _FLOATS:
            x = self.input(dtype)
            x.view(-1)[:3] = torch.tensor([torch.inf, -torch.inf, torch.nan])
            x.requires_grad_()
            before = torch.get_rng_state()
            y = layer(x)
            self.require(torch.equal(torch.get_rng_state(), before), "must draw no random numbers")
            self.require_same(y, x, f"the output must be the input in {dtype}")
            (gradient,) = torch.autograd.grad(y.nansum(), x) if y.requires_grad else (None,)
            self.require(gradient is not None, "must let gradients through")

    def moments(self) -> None:
        x = self.input()
        draws = self.draws(x)
        self.name = "variance"
        self.spread(x, draws)
        self.name = "mean"
        self.mean(x, draws)
        for dtype in _FLOATS[1:]:
            x = self.input(dtype)
            self.mean(x, self.draws(x))

    def spread(self, x: Tensor, draws: Tensor) -> None:
        expected = self.variance(x)
        self.require((draws[:, expected == 0] == x[expected == 0]).all(), "must be 0 as stated")
        unbiased = self.calls / (self.calls - 1)
        square = unbiased * (draws - draws.mean(0)).square()
        ratio = (square / expected)[:, expected > 0]
        if ratio.numel():
            # Estimate the spread from all elements together, so that rare events are included.
            slack = self.z * ratio.std() / self.calls**0.5
            one = torch.ones(ratio.shape[1], dtype=torch.float64)
            self.require_mean(ratio.mean(0), one, slack, "Var[y | x] / stated variance")
            # The mean over elements is more precise, so it detects a small error that all elements
            # share.
            mean = ratio.mean(1)
            slack = self.z * mean.std() / self.calls**0.5
            self.require_mean(
                mean.mean(), one[0], slack, "the mean of Var[y | x] / stated variance"
            )

    def mean(self, x: Tensor, draws: Tensor) -> None:
        dtype = x.dtype
        self.require(draws.dtype == dtype, f"output must be {dtype} like x, got {draws.dtype}")
        x, draws = x.double(), draws.double()
        rounding = torch.finfo(dtype).eps
        slack = rounding * x.abs() + self.z * (self.variance(x) / len(draws)).sqrt()
        # Average the differences: a rounded average of equal numbers may differ from these numbers.
        self.require_mean(x + (draws - x).mean(0), x, slack, f"E[y | x] in {dtype}")
        ratio = (draws / x).flatten(1).mean(1)
        slack = rounding + self.z * ratio.std() / len(draws) ** 0.5
        self.require_mean(ratio.mean(), torch.ones_like(slack), slack, f"E[y / x] in {dtype}")

    def seeds(self) -> None:
        layer, x = self.fresh(), self.input()
        first = self.draw(layer, x)
        self.require_same(self.draw(layer, x), first, "equal seeds must give equal noise")

    def copies(self) -> None:
        layer, x = self.fresh(), self.input()
        first = self.draw(layer, x)
        for how, twin in (
            ("deepcopy", deepcopy(layer)),
            ("pickle", pickle.loads(pickle.dumps(layer))),
        ):
            self.require_same(self.draw(twin, x), first, f"a copy by {how} must draw the same")

    def gradient(self) -> None:
        for dtype in (torch.float64, torch.float32):
            layer, x = self.fresh(), self.input(dtype).requires_grad_()
            upstream = self.input(dtype).flip(0)
            y = self.draw(layer, x)
            (found,) = torch.autograd.grad(y, x, upstream)
            # For fixed noise, y is affine in x, so a difference in y divided by that in x is the
            # noise.
            noise = (self.draw(layer, x + 4.0) - y) / 4.0
            expected = upstream * noise
            off = (found - expected).abs() > 64 * torch.finfo(dtype).eps * (
                1 + expected.abs() + y.abs()
            )
            self.require(
                not off.any(),
                f"must be that of the noise in the output, but {int(off.sum())} of {off.numel()} "
                f"elements differ in {dtype}",
            )

    def infinite(self) -> None:
        for dtype in _FLOATS:
            layer, x = self.fresh(), self.input(dtype)
            x = torch.where(x > 0, torch.inf, x).requires_grad_()
            y = self.draw(layer, x)
            self.require(not y.isnan().any(), f"outputs must not be NaN in {dtype}")
            (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
            self.require(gradient.isfinite().all(), f"gradients must be finite in {dtype}")

    def layout(self) -> None:
        layer, x = self.fresh(), self.input()
        expected = self.draw(layer, x)
        strided = torch.stack([x, x], dim=-1)[..., 0]
        transposed = x.movedim(0, -1).contiguous().movedim(-1, 0)
        for kind, same in (("strided", strided), ("transposed", transposed)):
            found = self.draw(layer, same)
            self.require_same(found, expected, f"{kind} memory must give the same noise")
        once = x[:1].expand_as(x)
        found = self.draw(layer, once)
        self.require_same(found, self.draw(layer, once.contiguous()), "so must expanded memory")

    def empty(self) -> None:
        layer = self.fresh()
        for shape in ((0, *self.shape[1:]), (*self.shape[:-1], 0)):
            x = torch.empty(shape, requires_grad=True)
            y = layer(x)
            self.require_same(y, x, "the output must be the input")
            torch.autograd.grad(y.sum(), x)

    def never(self) -> None:
        if hasattr(self.layer, "p"):
            layer = self.fresh(p=0.0)
            for dtype in _FLOATS:
                x = self.input(dtype)
                x.view(-1)[0] = torch.inf
                self.require_same(self.draw(layer, x), x, f"must be the identity in {dtype}")

    def always(self) -> None:
        if not hasattr(self.layer, "p"):
            return
        try:
            layer = self.fresh(p=1.0)
        except ValueError:
            return
        for dtype in _FLOATS:
            x = self.input(dtype)
            x.view(-1)[:2] = torch.tensor([torch.inf, -torch.inf])
            x.requires_grad_()
            y = self.draw(layer, x)
            self.require_same(y, torch.zeros_like(y), f"outputs must be zero in {dtype}")
            (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
            self.require_same(gradient, torch.zeros_like(y), f"gradients must be zero in {dtype}")

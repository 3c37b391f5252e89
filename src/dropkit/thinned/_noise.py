"""How noisy masks make the gradient, and how many sub-networks in a mini-batch that asks for."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dropkit.thinned._forwards import Drop
from dropkit.thinned._heads import Heads
from dropkit.thinned._thin import thin


@dataclass(frozen=True)
class GradientNoise:
    """Where the noise of a mini-batch's gradient comes from, and what the gradient costs.

    The first three are unbiased estimates, so that each may come out below zero where it is small.

    Attributes:
        masks: the trace of the gradient's covariance when the same rows draw other masks.
        rows: that of the gradient's mean over masks, from one mini-batch to another.
        signal: the squared length of the mean over both.
        seconds: the median time of a pass, forward and backward.
    """

    masks: float
    rows: float
    signal: float
    seconds: float

    @property
    def cost(self) -> float:
        """``seconds · (signal + masks + rows)``, in proportion to the time that training takes.

        With the best learning rate for it, a step's progress is in proportion to the share of
        ``signal`` in the sum (McCandlish, Kaplan & Amodei, 2018, for noise without a preferred
        direction).
        """
        return self.seconds * (self.signal + self.masks + self.rows)


def gradient_noise(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    *,
    draws: int = 2,
    passes: int = 1,
) -> GradientNoise:
    """Estimate how much of the noise of a gradient comes from masks, and how much from rows.

    With g(b, m) the gradient of mini-batch b under masks m, M draws of masks for each of B
    mini-batches and bars for means over what they leave out,

    ``masks = Σ_bm |g(b, m) − ḡ(b)|² / (B (M − 1))``,
    ``rows = Σ_b |ḡ(b) − ḡ|² / (B − 1) − masks / M``,
    ``signal = |ḡ|² − Σ_b |ḡ(b) − ḡ|² / (B (B − 1))``,

    the moments of a nested analysis of variance. Successive masks of a thinned net are balanced:
    what one step leaves out, the next one makes up for. With ``passes`` above 1, g(b, m) is the
    mean over so many successive passes and ``masks`` is multiplied by them: the noise for each
    step, as an optimizer that averages over some steps feels it. Draws begin anew.

    Args:
        model: a net with dropout, thinned or not, in training mode. A copy of it is run.
        batches: at least two mini-batches, as large as those of training.
        loss: ``loss(model, batch)``, the scalar that training minimizes.
        draws: draws of masks for each mini-batch, at least 2.
        passes: successive passes in a draw, at least 1.

    Raises:
        ValueError: if the model is not in training mode, there are fewer than two mini-batches, or
            a count is too small.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 1))
    >>> batches = [torch.randn(200, 3) for _ in range(8)]
    >>> loss = lambda net, x: (net(x) - x.sum(1, keepdim=True)).square().mean()
    >>> each = gradient_noise(net, batches, loss, draws=8)
    >>> one = gradient_noise(thin(net)[0], batches, loss, draws=8)
    >>> one.masks > 2 * each.masks  # a mask for all rows is noisier than one for each row
    True

    Reference: nested analysis of variance, Searle, Casella & McCulloch, "Variance components"
    (1992); not read first-hand.
    """
    if not model.training:
        raise ValueError("the model must be in training mode, in which dropout draws; call train()")
    if draws < 2 or passes < 1:
        raise ValueError(
            f"draws must be at least 2 and passes at least 1, got {draws} and {passes}"
        )
    model = deepcopy(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    within: list[float] = []  # of each mini-batch: the variance of its draws
    seconds: list[float] = []
    means = _Spread()
    for batch in batches:
        spread = _Spread()
        for _ in range(draws):
            _begin_anew(model)
            mean = _Spread()
            for _ in range(passes):
                start = time.perf_counter()
                value = loss(model, batch)
                gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
                if not value.is_cpu:  # which would be timed without waiting for the rest
                    torch.accelerator.synchronize()
                seconds.append(time.perf_counter() - start)
                mean.add(torch.cat([g.reshape(-1) for g in gradients]))
            spread.add(mean.mean)
        within.append(spread.variance)
        means.add(spread.mean)
    if len(within) < 2:
        raise ValueError(f"batches must hold at least two mini-batches, got {len(within)}")
    masks, between = statistics.fmean(within), means.variance
    length = torch.linalg.vector_norm(means.mean, dtype=torch.float64).item()
    return GradientNoise(
        masks=passes * masks,
        rows=between - masks / draws,
        signal=length**2 - between / len(within),
        seconds=statistics.median(seconds),
    )


def choose_groups(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[nn.Module, Any], Tensor],
    *,
    candidates: Sequence[int] = (1, 2, 4, 8),
    draws: int = 2,
    passes: int = 4,
) -> tuple[int, dict[int, GradientNoise]]:
    """Find the number of groups for which training should take the least time.

    Few groups make a step cheap and its gradient noisy, which takes more steps or a smaller
    learning rate. Of ordinary dropout and the candidates, the one with the least
    :attr:`GradientNoise.cost` is best. It changes while a net trains and while rates fall, so the
    choice may be made again, every epoch say::

        plan.undo(model, copy=False)
        groups, _ = dropkit.thinned.choose_groups(model, batches, loss)
        if groups:
            model, plan = dropkit.thin(model, groups, copy=False)

    A :class:`Lazy` optimizer is then made anew.

    Args:
        model: a net with dropout, not thinned, in training mode. Copies of it are run.
        batches: mini-batches as in training; eight are enough to tell the candidates apart.
        loss: ``loss(model, batch)``, the scalar that training minimizes.
        candidates: numbers of groups.
        draws, passes: as in :func:`gradient_noise`.

    Returns:
        The number of groups, or 0 if ordinary dropout is best; and what was found for 0 and for
        each candidate.

    Raises:
        ValueError: as :func:`gradient_noise` and :func:`dropkit.thin` do.

    >>> net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 1))
    >>> batches = [torch.randn(200, 3) for _ in range(4)]
    >>> loss = lambda net, x: (net(x) - x.sum(1, keepdim=True)).square().mean()
    >>> groups, found = choose_groups(net, batches, loss, candidates=(1, 2))
    >>> sorted(found), found[groups].cost == min(noise.cost for noise in found.values())
    ([0, 1, 2], True)

    Reference: McCandlish, Kaplan & Amodei, "An empirical model of large-batch training" (2018), for
    progress and noise; not read first-hand. They have the noise of rows alone, here that of masks
    comes to it.
    """
    batches = list(batches)
    nets = {0: model} | {groups: thin(model, groups)[0] for groups in candidates}
    found = {
        groups: gradient_noise(net, batches, loss, draws=draws, passes=passes)
        for groups, net in nets.items()
    }
    best = min(found, key=lambda groups: found[groups].cost)
    return best, found


class _Spread:
    """The mean of vectors and the trace of their covariance, in one pass (Welford, 1962)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.empty(0)
        self._squares = 0.0

    def add(self, x: Tensor) -> None:
        self.count += 1
        if self.count == 1:
            self.mean = x.clone()
            return
        change = x - self.mean
        self.mean += change / self.count
        self._squares += torch.dot(change, x - self.mean).item()

    @property
    def variance(self) -> float:
        return self._squares / max(1, self.count - 1)


def _begin_anew(model: nn.Module) -> None:
    """Let the next masks make up for none before them."""
    for module in model.modules():
        forward = module.__dict__.get("forward")
        if isinstance(forward, Drop | Heads):
            forward.units.forget()

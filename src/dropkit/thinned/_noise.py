"""Measure the gradient noise from masks, and choose the number of groups in a mini-batch."""

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
    """The noise of a mini-batch gradient, by source, and the time to compute the gradient.

    ``masks``, ``rows`` and ``signal`` are unbiased estimates, so an estimate of a small value may
    be negative.

    Attributes:
        masks: variance of the gradient over masks, for a fixed mini-batch (trace of the
            covariance).
        rows: variance over mini-batches of the gradient's mean over masks (trace of the
            covariance).
        signal: squared length of the mean gradient over masks and mini-batches.
        seconds: median time of a forward and backward pass.
    """

    masks: float
    rows: float
    signal: float
    seconds: float

    @property
    def cost(self) -> float:
        """``seconds · (signal + masks + rows)``, proportional to the expected time of training.

        With the optimal learning rate, the progress of a step is proportional to ``signal`` divided
        by this sum (McCandlish, Kaplan & Amodei, 2018, for isotropic noise).
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
    """Estimate how much gradient noise comes from dropout masks, and how much from the rows.

    Let g(b, m) be the gradient of mini-batch b under masks m, with M draws of masks for each of B
    mini-batches. Let ḡ(b) be the mean over masks, and ḡ the mean over masks and mini-batches:

    ``masks = Σ_bm |g(b, m) − ḡ(b)|² / (B (M − 1))``,
    ``rows = Σ_b |ḡ(b) − ḡ|² / (B − 1) − masks / M``,
    ``signal = |ḡ|² − Σ_b |ḡ(b) − ḡ|² / (B (B − 1))``,

    These are the estimates of a nested analysis of variance.

    Successive masks of a thinned network are balanced: each mask prefers units that earlier masks
    dropped. To include this effect, set ``passes`` above 1. Then g(b, m) is the mean over this
    number of successive passes, and ``masks`` is multiplied by this number. Then ``masks`` is the
    noise per step that matters for an optimizer that averages gradients over steps, as momentum
    does. Each draw starts with a new sequence of masks.

    Args:
        model: a network with dropout, thinned or not, in training mode. The function runs a copy.
        batches: at least two mini-batches, with the batch size of training.
        loss: ``loss(model, batch)``, the scalar that training minimizes.
        draws: number of draws of masks for each mini-batch, at least 2.
        passes: number of successive passes in a draw, at least 1.

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
    (1992).
    """
    if not model.training:
        raise ValueError("the model must be in training mode, in which dropout draws; call train()")
    if draws < 2 or passes < 1:
        raise ValueError(
            f"draws must be at least 2 and passes at least 1, got {draws} and {passes}"
        )
    model = deepcopy(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    within: list[float] = []  # variance over draws, for each mini-batch
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
                if not value.is_cpu:  # wait for the device, so that the measured time is correct
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

    With few groups a step is cheap, but its gradient is noisy, so training needs more steps or a
    smaller learning rate. The function compares ordinary dropout and the candidates, and chooses
    the one with the smallest :attr:`GradientNoise.cost`. The cost changes during training and with
    the rates, so you may choose again, for example in every epoch::

        plan.undo(model, copy=False)
        groups, _ = dropkit.thinned.choose_groups(model, batches, loss)
        if groups:
            model, plan = dropkit.thin(model, groups, copy=False)

    After that, create a :class:`LazyOptimizer` again.

    Args:
        model: a network with dropout, not thinned, in training mode. The function runs copies.
        batches: mini-batches as in training; eight are enough to distinguish the candidates.
        loss: ``loss(model, batch)``, the scalar that training minimizes.
        candidates: numbers of groups.
        draws: as in :func:`gradient_noise`.
        passes: as in :func:`gradient_noise`.

    Returns:
        The number of groups, or 0 if ordinary dropout is best; and the `GradientNoise` for 0 and
        for each candidate.

    Raises:
        ValueError: for the reasons listed in :func:`gradient_noise` and :func:`dropkit.thin`.

    >>> net = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 1))
    >>> batches = [torch.randn(200, 3) for _ in range(4)]
    >>> loss = lambda net, x: (net(x) - x.sum(1, keepdim=True)).square().mean()
    >>> groups, found = choose_groups(net, batches, loss, candidates=(1, 2))
    >>> sorted(found), found[groups].cost == min(noise.cost for noise in found.values())
    ([0, 1, 2], True)

    Reference: McCandlish, Kaplan & Amodei, "An empirical model of large-batch training" (2018), for
    the relation between progress and noise. The paper only has the noise from rows; this function
    adds the noise from masks.
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
    """Forget earlier masks, so that they do not influence the next ones."""
    for module in model.modules():
        forward = module.__dict__.get("forward")
        if isinstance(forward, Drop | Heads):
            forward.units.forget()

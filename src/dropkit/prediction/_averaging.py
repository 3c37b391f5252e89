"""Compare three ways to average the predictions of many thinned networks."""

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropkit._moments import Kind
from dropkit.prediction._output import Wanted
from dropkit.prediction._predict import predict
from dropkit.random.seed import draw_seed
from dropkit.scaling import ClassicDropout, from_classic

__all__ = ["Comparison", "compare_averaging", "mean_network"]

WEIGHT_SCALING, ARITHMETIC, GEOMETRIC = "weight scaling", "arithmetic mean", "geometric mean"


def mean_network(model: nn.Module) -> nn.Module:
    """Return the network with mean weights: all units, scaled by their keep probability.

    ``f(x; E m)`` in place of ``E f(x; m)``

    Args:
        model: any module; after `dropkit.scaling.ClassicDropout` layers, weights are multiplied by
            the keep probability. All other dropout uses the inverted convention, where the mean of
            the noise is 1 and the weights do not change.

    Returns:
        A copy in evaluation.

    Raises:
        ValueError: a classic model that cannot be traced, as in ``from_classic``.

    >>> net = nn.Sequential(ClassicDropout(nn.Dropout(0.2)), nn.Linear(2, 1))
    >>> _ = nn.init.ones_(net[1].weight)
    >>> mean_network(net)[1].weight.data
    tensor([[0.8000, 0.8000]])

    Reference: Srivastava et al. (2014); equal to the geometric mean for a linear
    network with a softmax output, and an approximation otherwise.
    """
    if any(isinstance(module, ClassicDropout) for module in model.modules()):
        return from_classic(model).eval()
    return deepcopy(model).eval()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The losses of three ways of averaging, on the same examples.

    Attributes:
        predictions: by way, ``(examples, …)``; probabilities for classes.
        loss: by way, of every example: negative log-likelihood in nats, or squared error.
    """

    predictions: Mapping[str, Tensor]
    loss: Mapping[str, Tensor]

    def excess(self, way: str = ARITHMETIC) -> tuple[float, float]:
        """Return the mean excess loss of weight scaling over another way, and its standard error.

        The standard error is that of a mean of paired differences. It includes the choice of the
        examples and, because every example has its own masks, the choice of the masks.
        """
        difference = self.loss[WEIGHT_SCALING] - self.loss[way]
        error = difference.std() / len(difference) ** 0.5
        return difference.mean().item(), error.item()

    def adequate(self, margin: float, level: float = 0.95) -> bool:
        """Whether the excess loss of weight scaling over the arithmetic mean is below ``margin``.

        True if the upper end of the two-sided interval of ``level`` lies below ``margin``. False
        may also mean that there are too few examples to tell: see ``excess``.
        """
        mean, error = self.excess()
        return mean + NormalDist().inv_cdf((1 + level) / 2) * error < margin

    def __str__(self) -> str:
        """Show a line for each way."""
        lines = [f"{way:<16} {loss.mean().item():.6f}" for way, loss in self.loss.items()]
        mean, error = self.excess()
        lines.append(f"weight scaling − arithmetic mean: {mean:+.6f} ± {error:.6f}")
        return "\n".join(lines)


@torch.no_grad()
def compare_averaging(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    samples: int = 100,
    *,
    kind: Kind = "classification",
    output: str | Callable[[Any], Tensor] | None = None,
    also: Collection[nn.Module] = (),
    memory: int = 1 << 28,
    seed: int | None = None,
) -> Comparison:
    """Compare weight scaling with averaging the predictions of many masks.

    For classes the arithmetic mean is ``Σₜ pₜ / T``, the geometric mean ``∏ₜ pₜ^(1/T)``,
    normalized, both over the same masks; for regression there is the arithmetic mean alone.

    Args:
        model: any module with dropout and one input.
        x: examples that the model was not trained on.
        y: their classes ``(examples, …)``, or targets of the shape of the output.
        samples: T, the number of masks. The loss of an average of T predictions has a term in 1/T.
        kind: ``"classification"``, of logits, or ``"regression"``.
        output: what to average of a model that returns more than a tensor, as in ``predict``.
        also: further modules to switch on, as in ``sampling``.
        memory: bytes that samples run together may take, as in ``predict``.
        seed: fixes the masks. Default: drawn from torch's default generator.

    Returns:
        The `Comparison`.

    Raises:
        ValueError: fewer than two examples; targets of another shape than the output; and what
            ``predict`` raises.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    >>> x, y = torch.randn(50, 4), torch.randint(3, (50,))
    >>> found = compare_averaging(net, x, y, samples=4000, seed=0)
    >>> apart = found.predictions["geometric mean"] - found.predictions["weight scaling"]
    >>> bool(apart.abs().max() < 0.02)
    True

    Reference: Srivastava et al. (2014), section 7.5.
    """
    if len(x) < 2:
        raise ValueError(f"x must hold two examples or more, for a standard error, got {len(x)}")
    seed = int(draw_seed()) if seed is None else seed
    sample = partial(predict, model, x, samples, output=output, also=also, memory=memory, seed=seed)
    found = sample(kind=kind)
    scaled, _ = Wanted(output, kind).choose(mean_network(model)(x.clone()))
    scaled = scaled.to(found.mean.dtype)
    if kind == "regression":
        if y.shape != scaled.shape:
            raise ValueError(
                f"y must have the shape of the output, {tuple(scaled.shape)}, got {tuple(y.shape)}"
            )
        means = {WEIGHT_SCALING: scaled, ARITHMETIC: found.mean}
        losses = {way: (mean - y).square() for way, mean in means.items()}
    else:
        # The mean of the logits is, up to a constant, that of the log-probabilities.
        logits = sample(kind="regression").mean
        logs = {
            WEIGHT_SCALING: scaled.log_softmax(1),
            ARITHMETIC: found.mean.log(),
            GEOMETRIC: logits.log_softmax(1),
        }
        means = {way: log.exp() for way, log in logs.items()}
        losses = {way: F.nll_loss(log, y, reduction="none") for way, log in logs.items()}
    return Comparison(
        means, {way: loss.reshape(len(x), -1).mean(1) for way, loss in losses.items()}
    )

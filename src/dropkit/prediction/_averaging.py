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

from dropkit._moments import Task
from dropkit.prediction._output import Wanted
from dropkit.prediction._predict import predict
from dropkit.random.seed import draw_seed
from dropkit.scaling import ClassicDropout, from_classic

__all__ = ["Comparison", "compare_averaging", "mean_network"]

WEIGHT_SCALING, ARITHMETIC, GEOMETRIC = "weight scaling", "arithmetic mean", "geometric mean"


def mean_network(model: nn.Module) -> nn.Module:
    """Return the network that predicts by weight scaling: each mask is replaced by its mean.

    For the mean mask E m, ``f(x; E m)`` approximates the mean prediction ``E f(x; m)``.

    Args:
        model: any module. Weights after `dropkit.scaling.ClassicDropout` layers are multiplied by
            the keep probability. All other dropout runs as in evaluation: in the inverted
            convention the mean of a mask is 1, so weights do not change.

    Returns:
        A copy in evaluation mode.

    Raises:
        ValueError: the model has ``ClassicDropout`` layers that ``from_classic`` cannot convert.

    >>> net = nn.Sequential(ClassicDropout(nn.Dropout(0.2)), nn.Linear(2, 1))
    >>> _ = nn.init.ones_(net[1].weight)
    >>> mean_network(net)[1].weight.data
    tensor([[0.8000, 0.8000]])

    Reference: Srivastava et al. (2014). For a linear network with a softmax output, the predicted
    probabilities equal the normalized geometric mean of the probabilities over masks. For other
    networks this is an approximation.
    """
    if any(isinstance(module, ClassicDropout) for module in model.modules()):
        return from_classic(model).eval()
    return deepcopy(model).eval()


@dataclass(frozen=True, eq=False)
class Comparison:
    """The losses of three ways of averaging, on the same examples.

    Attributes:
        predictions: for each way, ``(examples, …)``; for classification the probabilities.
        loss: for each way, the loss of every example: negative log-likelihood in nats, or squared
            error.
    """

    predictions: Mapping[str, Tensor]
    loss: Mapping[str, Tensor]

    def excess_loss(self, way: str = ARITHMETIC) -> tuple[float, float]:
        """Return the mean excess loss of weight scaling over another way, and its standard error.

        The standard error is computed from paired differences. It accounts for the random choice of
        the examples and of the masks, because every example has its own masks.
        """
        difference = self.loss[WEIGHT_SCALING] - self.loss[way]
        error = difference.std() / len(difference) ** 0.5
        return difference.mean().item(), error.item()

    def weight_scaling_is_adequate(self, margin: float, level: float = 0.95) -> bool:
        """Whether the excess loss of weight scaling over the arithmetic mean is below ``margin``.

        True if the upper end of the two-sided interval with confidence ``level`` lies below
        ``margin``. False may also mean that there are too few examples; see ``excess_loss``.
        """
        mean, error = self.excess_loss()
        return mean + NormalDist().inv_cdf((1 + level) / 2) * error < margin

    def __str__(self) -> str:
        """Show one line for each way."""
        lines = [f"{way:<16} {loss.mean().item():.6f}" for way, loss in self.loss.items()]
        mean, error = self.excess_loss()
        lines.append(f"weight scaling − arithmetic mean: {mean:+.6f} ± {error:.6f}")
        return "\n".join(lines)


@torch.no_grad()
def compare_averaging(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    samples: int = 100,
    *,
    task: Task = "classification",
    output: str | Callable[[Any], Tensor] | None = None,
    extra_modules: Collection[nn.Module] = (),
    max_memory_bytes: int = 1 << 28,
    seed: int | None = None,
) -> Comparison:
    """Compare weight scaling (one pass with the mean mask) with averaging over many masks.

    Let pₜ be the predicted probabilities under mask t. The arithmetic mean is ``Σₜ pₜ / T``; the
    geometric mean is ``∏ₜ pₜ^(1/T)``, normalized. Both use the same masks. For regression there is
    only the arithmetic mean.

    Args:
        model: any module with dropout and one input.
        x: examples that the model was not trained on.
        y: the classes of the examples, ``(examples, …)``, or targets with the shape of the output.
        samples: T, the number of masks. On average, the loss of T masks is larger than the loss of
            infinitely many masks; the difference is of order 1/T.
        task: ``"classification"`` for a model that returns logits, or ``"regression"``.
        output: selects the tensor to average, as in ``predict``.
        extra_modules: additional modules to switch on, as in ``sampling``.
        max_memory_bytes: estimated maximum number of bytes for samples that run together, as in
            ``predict``.
        seed: random seed of the masks. Default: drawn from torch's default generator.

    Returns:
        The `Comparison`.

    Raises:
        ValueError: fewer than two examples; targets and output with different shapes; all errors of
            ``predict``.

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
    sample = partial(
        predict,
        model,
        x,
        samples,
        output=output,
        extra_modules=extra_modules,
        max_memory_bytes=max_memory_bytes,
        seed=seed,
    )
    found = sample(task=task)
    scaled, _ = Wanted(output, task).choose(mean_network(model)(x.clone()))
    scaled = scaled.to(found.mean.dtype)
    if task == "regression":
        if y.shape != scaled.shape:
            raise ValueError(
                f"y must have the shape of the output, {tuple(scaled.shape)}, got {tuple(y.shape)}"
            )
        means = {WEIGHT_SCALING: scaled, ARITHMETIC: found.mean}
        losses = {way: (mean - y).square() for way, mean in means.items()}
    else:
        # The mean of the logits equals the mean of the log-probabilities up to a constant.
        logits = sample(task="regression").mean
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

"""Train the multilayer perceptron of the scikit-learn estimators, and sample predictions."""

import itertools
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from dropkit._best import Best
from dropkit._checks import check_positive, check_probability
from dropkit._moments import Moments, Task
from dropkit.constrain import max_norm_
from dropkit.functional import dropout
from dropkit.noise import Dropout
from dropkit.param_groups import decay_groups
from dropkit.schedule import Schedule, constant
from dropkit.study.training.batches import Batch
from dropkit.study.training.loop import train

UPDATES = 3000  # target number of updates if ``epochs`` is None
TOGETHER = 2**22  # maximum number of units that one layer computes at a time, over all masks


class DropoutNet(BaseEstimator):  # type: ignore[misc]
    """Base class of the estimators; subclasses define targets, loss and predictions."""

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (128, 128),
        *,
        p: float | Schedule = 0.2,
        input_p: float = 0.0,
        max_norm: float | None = None,
        learning_rate: float = 0.003,
        weight_decay: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 64,
        validation_fraction: float | None = None,
        samples: int = 100,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.p = p
        self.input_p = input_p
        self.max_norm = max_norm
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.samples = samples
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train the network.

        Args:
            X: numbers, ``(examples, features)``. Standardize X; otherwise training may be slow or
                diverge.
            y: the targets, one for each row of X.

        Returns:
            The estimator itself.

        Raises:
            ValueError: if a parameter is out of range, X or y is invalid, or the training diverges.
        """
        self._check_parameters()
        rows, labels = validate_data(
            self, X, y, dtype=[np.float64, np.float32], **self._target_checks
        )
        x = torch.tensor(rows, device="cpu")
        targets, outputs = self._encode(labels, x.dtype)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31))
        generator = torch.Generator("cpu").manual_seed(self.seed_)
        self.module_ = self._make(x.shape[1], outputs, generator).to(x.dtype)
        with torch.enable_grad():
            self._train(x, targets, generator)
        return self

    #: Options of scikit-learn's check of y.
    _target_checks: ClassVar[dict[str, bool]]

    @abstractmethod
    def _encode(self, y: NDArray[Any], dtype: torch.dtype) -> tuple[Tensor, int]:
        """Return the targets as the loss needs them, and the number of outputs."""

    @abstractmethod
    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of these rows."""

    def _check_parameters(self) -> None:
        for name in ("learning_rate", *(("max_norm",) if self.max_norm is not None else ())):
            check_positive(getattr(self, name), name)
        for name in ("input_p", *(() if isinstance(self.p, Schedule) else ("p",))):
            if check_probability(getattr(self, name), name) == 1:
                raise ValueError(f"{name} must be below 1, or nothing is left to learn from")
        if not 0 <= (self.validation_fraction or 0) < 1:
            raise ValueError(
                f"validation_fraction must lie in [0, 1) or be None, got {self.validation_fraction}"
            )
        if not isinstance(self.hidden_layer_sizes, Iterable):
            raise TypeError(
                "hidden_layer_sizes must hold a number for each layer, such as (128, 128), got "
                f"{self.hidden_layer_sizes!r}"
            )
        epochs = 1 if self.epochs is None else self.epochs
        for size in (epochs, self.batch_size, *self.hidden_layer_sizes):
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    "epochs, batch_size and each of hidden_layer_sizes must be integers, 1 or "
                    f"more, got {self.epochs}, {self.batch_size} and {self.hidden_layer_sizes}"
                )
        self._check_samples()

    def _check_samples(self) -> None:
        if not isinstance(self.samples, Integral) or self.samples < 0 or self.samples == 1:
            raise ValueError(
                f"samples must be an integer, 2 or more, or 0 for none, got {self.samples}"
            )

    def _make(self, inputs: int, outputs: int, generator: torch.Generator) -> nn.Sequential:
        widths = [inputs, *self.hidden_layer_sizes]
        layers: list[nn.Module] = [Dropout(self.input_p)]
        for fan_in, fan_out in itertools.pairwise(widths):
            layers += [_linear(fan_in, fan_out, generator), nn.ReLU(), Dropout(0.0)]
        return nn.Sequential(*layers, _linear(widths[-1], outputs, generator))

    def _train(self, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
        order = torch.randperm(len(x), generator=generator, device="cpu")
        held_out = math.ceil(len(x) * (self.validation_fraction or 0.0))
        validation, training = order[:held_out], order[held_out:]
        if not len(training):
            raise ValueError(
                f"validation_fraction={self.validation_fraction} must leave rows to train on, "
                f"but none of n_samples = {len(x)} are left"
            )
        groups = decay_groups(self.module_, self.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=self.learning_rate)
        schedule = self.p if isinstance(self.p, Schedule) else constant(self.p)
        hidden = [layer for layer in list(self.module_)[1:] if isinstance(layer, Dropout)]
        batches = math.ceil(len(training) / self.batch_size)
        epochs = self.epochs or min(max(round(UPDATES / batches), 20), 1000)
        steps = epochs * batches
        sizes = [len(rows) for rows in torch.split(training, self.batch_size)]

        def passes() -> Iterator[Iterator[Batch]]:
            for _ in range(epochs):
                order = torch.randperm(len(training), generator=generator, device="cpu")
                split = torch.split(training[order], self.batch_size)
                yield ((x[rows], y[rows], 1.0) for rows in split)

        def objective(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            loss = self._loss(_forward(self.module_, inputs, generator), targets)
            return loss, loss

        def set_step(step: int) -> None:
            for layer in hidden:
                layer.p = schedule(step)
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 - step / steps)

        def project() -> None:
            if self.max_norm is not None:
                max_norm_(self.module_, self.max_norm)

        best = Best("min")
        self.loss_curve_: list[float] = []
        self.validation_curve_: list[float] = []
        training_passes = train(
            self.module_, passes(), objective, optimizer, schedule=set_step, project=project
        )
        for epoch, done in enumerate(training_passes):
            total = sum(loss * size for loss, size in zip(done.losses.tolist(), sizes, strict=True))
            self.loss_curve_.append(total / len(training))
            if not math.isfinite(total):
                raise ValueError(
                    f"the training must converge, but its loss was {total} in epoch {epoch + 1}; "
                    "standardize X, lower learning_rate or set max_norm"
                )
            if held_out:
                with torch.no_grad():
                    loss = self._loss(self.module_(x[validation]), y[validation])
                self.validation_curve_.append(loss.item())
                best.see(loss.item(), epoch, self.module_)
        best.restore(self.module_)
        self.module_.eval()

    def _inputs(self, X: ArrayLike) -> Tensor:
        check_is_fitted(self)
        dtype = np.float32 if self.module_[-1].weight.dtype == torch.float32 else np.float64
        return torch.tensor(validate_data(self, X, dtype=dtype, reset=False), device="cpu")

    def _drops(self) -> bool:
        """Whether predictions use masks."""
        self._check_samples()
        layers = (layer for layer in self.module_ if isinstance(layer, Dropout))
        return self.samples > 0 and any(layer.p > 0 for layer in layers)

    def _sample(self, x: Tensor, task: Task) -> tuple[Tensor, Tensor]:
        """Return mean and variance over masks; without masks, the mean network's output and 0.

        All rows use the same masks, so a prediction does not depend on the other rows. The masks
        depend only on the estimator's own seed, so threads may predict at the same time.
        """
        if not self._drops():
            with torch.no_grad():
                output = self.module_(x)
            mean = output.softmax(1) if task == "classification" else output
            return mean, torch.zeros_like(mean)
        count = int(self.samples)
        linear = (layer for layer in self.module_ if isinstance(layer, nn.Linear))
        widest = max(x.shape[1], *(layer.out_features for layer in linear))
        found = []
        for rows in torch.split(x, max(1, TOGETHER // (count * widest))):
            moments = Moments(task, keep_samples=False)
            moments.add(_masked(self.module_, rows, count, self.seed_))
            found.append(moments.prediction())
        return torch.cat([part.mean for part in found]), torch.cat([p.variance for p in found])


@torch.no_grad()
def _masked(net: nn.Sequential, x: Tensor, count: int, seed: int) -> Tensor:
    """Return the outputs under several masks, shared by all rows: (masks, rows, outputs)."""
    streams = itertools.count()
    for layer in net:
        if not isinstance(layer, Dropout):
            x = layer(x)
        elif layer.p > 0:
            each = x.expand(count, *x.shape[-2:])
            x = dropout(each, layer.p, shared_dims=(1,), seed=seed, stream=next(streams))
    return x


def _linear(fan_in: int, fan_out: int, generator: torch.Generator) -> nn.Linear:
    """Create a linear layer with weights drawn from this generator, not torch's global one."""
    layer = nn.Linear(fan_in, fan_out, device="meta").to_empty(device="cpu")
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def _forward(net: nn.Sequential, x: Tensor, generator: torch.Generator) -> Tensor:
    """Run the network in training with noise from this generator, not torch's global one."""
    for layer in net:
        x = dropout(x, layer.p, generator=generator) if isinstance(layer, Dropout) else layer(x)
    return x

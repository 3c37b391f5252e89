"""Compute a prediction from samples: mean, variance, entropy and standard error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Task = Literal["regression", "classification"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The Monte-Carlo estimate that ``predict`` returns, computed from samples y₁ … y_T.

    For an ensemble of M models, it is the prediction of their mixture. Then each uncertainty is the
    sum of a mean over models m and a part between models: ``variance = Σₘ varianceₘ / M +
    variance_between`` and ``mutual_information = Σₘ informationₘ / M + information_between``.

    Attributes:
        mean: ``ȳ = Σ yₜ / T``, with the shape of the model's output; for classification the mean
            probabilities.
        variance: ``Σ (yₜ − ȳ)² / (T − 1)``, the variance over masks. This variance does not include
            the noise of the targets.
        count: T, the number of samples; for an ensemble, of all models together.
        entropy: entropy of the mean probabilities in nats, ``H(ȳ) = −Σ ȳ_c log ȳ_c``;
            classification only.
        mutual_information: mutual information of class and mask in nats, ``H(ȳ) − Σ H(yₜ) / T``;
            classification only. On average, this estimate is below its limit for T → ∞ by a term of
            order 1/T.
        samples: y₁ … y_T along a new first dimension, if ``keep_samples`` was true; for an
            ensemble, ordered by model.
        members: the prediction of each model of an ensemble.
        task: ``"regression"`` if the outputs were averaged unchanged, even if they are logits;
            ``"classification"`` if the softmax of logits was averaged.
    """

    mean: Tensor
    variance: Tensor
    count: int
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None
    samples: Tensor | None = None
    members: tuple["Prediction", ...] = ()
    task: Task = "regression"

    @property
    def standard_error(self) -> Tensor:
        """The Monte-Carlo standard error of the mean, ``√(variance / T)``.

        For an ensemble of M models with T samples each, the standard error is ``√(Σₘ varianceₘ / M
        / (M T))``. It includes the random choice of the masks, but not the choice of the models.
        """
        within = _mean([member.variance for member in self.members or (self,)])
        return (within / self.count).sqrt()

    @property
    def variance_between(self) -> Tensor:
        """The variance between M models, ``Σₘ (ȳₘ − ȳ)² / (M − 1)``; 0 for one model."""
        if not self.members:
            return torch.zeros_like(self.variance)
        return torch.stack([member.mean for member in self.members]).var(0)

    @property
    def information_between(self) -> Tensor | None:
        """The mutual information of class and model, ``H(ȳ) − Σₘ H(ȳₘ) / M``; 0 for one model."""
        if self.entropy is None:
            return None
        entropies = [m.entropy for m in self.members or (self,) if m.entropy is not None]
        return (self.entropy - _mean(entropies)).clamp(min=0)


def mixture(members: Sequence[Prediction]) -> Prediction:
    """Combine the predictions of several models, which all have the same number of samples."""
    mean = _mean([member.mean for member in members])
    between = torch.stack([member.mean for member in members]).var(0)
    variance = _mean([member.variance for member in members]) + between
    count = sum(member.count for member in members)
    kept = [member.samples for member in members if member.samples is not None]
    samples = torch.cat(kept) if kept else None
    of_samples = [
        member.entropy - member.mutual_information
        for member in members
        if member.entropy is not None and member.mutual_information is not None
    ]
    entropy = information = None
    if of_samples:
        entropy = _entropy(mean)
        information = (entropy - _mean(of_samples)).clamp(min=0)
    return Prediction(
        mean, variance, count, entropy, information, samples, tuple(members), members[0].task
    )


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(tuple(tensors)).mean(0)


def _entropy(p: Tensor) -> Tensor:
    entropy: Tensor = -torch.special.xlogy(p, p).sum(1)
    return entropy


class Moments:
    """Sum differences from the first sample, which avoids cancellation if the mean is large."""

    def __init__(self, task: Task, keep_samples: bool) -> None:
        self._task = task
        self._keep_samples = keep_samples
        self._kept: list[Tensor] = []
        self._count = 0
        self._first: Tensor | None = None
        self._sum = self._squares = self._entropies = torch.zeros((), device="cpu")
        self.vary = False

    def add(self, outputs: Tensor) -> None:
        """Add outputs of shape (samples, examples, …)."""
        outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if self._task == "classification":
            if outputs.dim() < 3 or outputs.shape[2] < 2:
                raise ValueError(
                    "task='classification' needs logits (examples, classes, …) of two classes or "
                    f"more, got shape {tuple(outputs.shape[1:])}; write one logit z as (0, z)"
                )
            log = outputs.log_softmax(2)
            outputs = log.exp()
            entropies = -(outputs * log.masked_fill(outputs == 0, 0)).sum(2)
            self._entropies = self._entropies.to(outputs) + entropies.sum(0)
        if self._first is None:
            self._first = outputs[0].clone()
            self._sum = self._squares = torch.zeros_like(self._first)
        apart = outputs - self._first
        self.vary = self.vary or bool((apart != 0).any())
        self._sum = self._sum + apart.sum(0)
        self._squares = self._squares + apart.square().sum(0)
        self._count += len(outputs)
        if self._keep_samples:
            self._kept.append(outputs)

    def prediction(self) -> Prediction:
        """Return the estimates; the variance of a single output is 0."""
        assert self._first is not None
        count = self._count
        mean = self._first + self._sum / count
        variance = (self._squares - self._sum.square() / count).clamp(min=0) / max(count - 1, 1)
        entropy = information = None
        if self._task == "classification":
            entropy = _entropy(mean)
            information = (entropy - self._entropies / count).clamp(min=0)
        kept = torch.cat(self._kept) if self._keep_samples else None
        return Prediction(mean, variance, count, entropy, information, kept, task=self._task)

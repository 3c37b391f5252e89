"""Base classes of the noise layers: active in training, the identity in evaluation."""

import math
from abc import abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dropkit._checks import check_probability
from dropkit.random.seed import as_seed


def dropout_variance(p: float) -> float:
    """Return p/(1 − p), the variance of a mask: 0 with probability p, otherwise 1/(1 − p)."""
    return p / (1 - p) if p < 1 else math.inf


class Noise(nn.Module):
    """Base class of noise layers: call ``perturb`` in training, and return the input in evaluation.

    A variant is a subclass in its own file that defines ``perturb`` and ``extra_repr``.
    Multiplicative variants derive from ``MultiplicativeNoise`` and also define ``variance``.
    Variants draw their noise with ``seed=self.seed``.
    """

    # A class attribute, because layers pickled by versions without seeds lack the instance
    # attribute.
    _seed: Tensor | None = None

    @property
    def seed(self) -> Tensor | None:
        """The fixed seed of the layer's masks; None, the default, draws a new seed at each call.

        While a seed is set, all calls with inputs of the same shape use the same mask, even within
        one forward pass and in every process. Set an int in [0, 2⁶⁴), or the result of
        ``draw_seed``. Compiled models use a new seed without recompiling. The seed is not in the
        ``state_dict``. To fix the masks of a whole model, use ``dropkit.prediction.frozen_masks``.
        """
        return self._seed

    @seed.setter
    def seed(self, seed: int | Tensor | None) -> None:
        with torch.inference_mode(False):
            self._seed = None if seed is None else as_seed(seed)

    def forward(self, input: Tensor) -> Tensor:
        """Return the perturbed input in training, and the input itself in evaluation."""
        # The argument has the name that it has in torch's layers, which code may pass.
        return self.perturb(input) if self.training else input

    @abstractmethod
    def perturb(self, x: Tensor) -> Tensor:
        """Return ``x`` with fresh noise, in training and in evaluation."""
        raise NotImplementedError


class HoldsNoise:
    """Base class that marks modules which contain a noise layer and do more than apply this layer.

    These modules wrap or replace another layer, and usually hold the noise layer in ``drop``.
    Surgery, sampling and the doctor recognize such modules by this class.
    """

    #: Whether other weights were scaled by the noise's rate; then the rate must not change.
    weights_follow_rate: ClassVar[bool] = False


class RatedNoise(Noise):
    """Base class of noise with a drop rate ``p``.

    Args:
        p: probability of dropping, in [0, 1]. Setting ``layer.p`` during training takes effect at
            the next call, even in compiled models, without recompiling.

    Raises:
        ValueError: p outside [0, 1], or a rate that the subclass does not support.
    """

    #: Whether the layer can follow any hidden layer. If so, `dropkit compare` has a method with the
    #: layer's name.
    behind_any_layer: ClassVar[bool] = True

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    @property
    def p(self) -> float:
        """The probability of dropping."""
        return self._rate.item()

    @p.setter
    def p(self, p: float) -> None:
        # Create a new tensor, because a pending backward pass still needs the old one. The rate is
        # neither a parameter nor a buffer, so checkpoints, .to() and .half() ignore it.
        self._rate = _as_tensor(self._checked(p))

    def __getstate__(self) -> dict[str, Any]:
        # Save a number, so that loading onto another device does not move the rate.
        return {k: v.item() if k == "_rate" else v for k, v in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Older pickles hold the tensor.
        known = {k: _as_tensor(float(v)) if k == "_rate" else v for k, v in state.items()}
        super().__setstate__(known)  # type: ignore[no-untyped-call]

    @staticmethod
    def _checked(p: float) -> float:
        return check_probability(p)

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"p={self.p:g}"


def _as_tensor(p: float) -> Tensor:
    """Return the rate as a tensor, which compiled code reads at run time.

    The rate is an ordinary tensor even under ``torch.inference_mode``, because compiled training
    rejects inference tensors.
    """
    with torch.inference_mode(False):
        return torch.tensor(p, dtype=torch.float64, device="cpu")


class MultiplicativeNoise(RatedNoise):
    """Base class of multiplicative noise ``y = x ⊙ m`` with E m = 1.

    Args:
        p: probability of dropping, in [0, 1].
    """

    @classmethod
    def from_keep_prob(cls, q: float) -> Self:
        """Create ``cls(1 − q)`` from the probability q of *keeping*, called p in the paper."""
        return cls(1.0 - check_probability(q, "q"))

    @property
    @abstractmethod
    def variance(self) -> float:
        """The variance of the noise m."""
        raise NotImplementedError

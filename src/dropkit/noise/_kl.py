"""The loss term of layers with learned noise: their divergence from a prior."""

from abc import abstractmethod

import torch
from torch import Tensor, nn


class LearnedNoise(nn.Module):
    """Base of the layers with learned noise, whose divergence from a prior is part of the loss."""

    @abstractmethod
    def kl(self) -> Tensor:
        """Return the divergence of the weights' distribution from its prior, in nats."""
        raise NotImplementedError


def kl_divergence(model: nn.Module) -> Tensor:
    """Return the sum of ``kl()`` over a model's layers with learned noise.

    ``Σₗ KL(qₗ(W) ‖ prior)``, where qₗ is the distribution of the weights of layer l. Minimize the
    mean negative log-likelihood of a batch plus this sum divided by N, the number of training
    examples (not the batch size).

    Args:
        model: any module that contains ``ConcreteDropout`` or ``VariationalDropout``. A layer that
            is used several times counts once.

    Returns:
        A scalar in nats, with gradients to the layers' parameters.

    Raises:
        ValueError: the model has no such layer.

    >>> from dropkit.noise import ConcreteDropout
    >>> net = nn.Sequential(ConcreteDropout(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 3))
    >>> x, target, examples = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]), 1000
    >>> loss = nn.functional.cross_entropy(net(x), target) + kl_divergence(net) / examples
    >>> loss.backward()
    """
    costs = [module.kl() for module in model.modules() if isinstance(module, LearnedNoise)]
    if not costs:
        raise ValueError(
            f"{type(model).__name__} must hold a layer whose noise is learned, ConcreteDropout or "
            "VariationalDropout, but it has none; wrap its linear or convolutional layers"
        )
    return torch.stack([cost.to(costs[0]) for cost in costs]).sum()

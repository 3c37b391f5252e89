"""DropConnect: drop connections instead of units."""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from dropkit.noise._affine import check_initialized
from dropkit.noise._called import Around
from dropkit.noise._dropout import Dropout


class DropConnect(Around):
    """A layer with dropout on its weights; each call draws one mask.

    ``y = layer(x; W ⊙ M)``, M ∈ {0, 1/(1 − p)} for each weight, E M = 1. So a linear layer has ``E
    y = W x + b`` and ``Var yᵢ = p/(1 − p) · Σⱼ Wᵢⱼ² xⱼ²``. In evaluation the output is
    ``layer(x)``. The parameter itself never changes.

    Args:
        layer: a module with a parameter ``weight``, such as ``nn.Linear`` or ``nn.Conv2d``; a bias
            is not dropped. For recurrent layers see ``WeightDrop``.
        p: probability of dropping a weight, in [0, 1]; to change p, set ``layer.drop.p``.

    Raises:
        TypeError: ``layer`` has no parameter ``weight``.
        ValueError: p outside [0, 1]; a lazy weight.

    >>> import torch
    >>> layer = DropConnect(nn.Linear(3, 2), p=0.5)
    >>> layer(torch.ones(4, 3)).shape
    torch.Size([4, 2])

    Reference: Wan, Zeiler, Zhang, LeCun & Fergus, "Regularization of neural networks using
    DropConnect" (2013). The paper draws a mask for each example, and drops biases too. At test time
    the paper averages activations under a normal approximation; this layer uses the mean weights.
    """

    def __init__(self, layer: nn.Module, p: float = 0.5) -> None:
        if not isinstance(layer._parameters.get("weight"), nn.Parameter):
            raise TypeError(
                f"layer must have a parameter 'weight', got {type(layer).__name__}; wrap the "
                "linear or convolutional layer itself, and nn.LSTM, nn.GRU and nn.RNN in WeightDrop"
            )
        check_initialized(layer)
        super().__init__(layer)
        self.drop = Dropout(p)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the layer; in training, apply it with dropout on its weights."""
        if not self.drop.training:
            return self.layer(*args, **kwargs)
        weight: Tensor = self.drop(self.layer.weight)
        return functional_call(self.layer, {"weight": weight}, args, kwargs)

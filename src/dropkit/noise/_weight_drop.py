"""Weight drop: drop the weights of a recurrent layer, with one mask for a whole sequence."""

from typing import Any

from torch import nn

from dropkit.noise._called import Showing
from dropkit.noise._dropout import Dropout


class WeightDrop(Showing):
    """A recurrent layer whose hidden-to-hidden weights are dropped, with one mask for each call.

    ``h[t] = f(x[t], U ⊙ M, h[t − 1])``, M ∈ {0, 1/(1 − p)} for each weight, E M = 1, and the same M
    at all time steps; in evaluation the layer as it is. The fused kernel of the layer runs, and the
    parameters never change: each call draws a new mask. Weights that are computed, by
    ``weight_norm``, pruning or a parametrization, are dropped as computed.

    Args:
        rnn: an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``; all of its layers and directions are dropped.
        p: probability of dropping a weight, in [0, 1]; to change it, set ``layer.drop.p``.

    Raises:
        TypeError: ``rnn`` is of another type.
        ValueError: p outside [0, 1].

    >>> import torch
    >>> layer = WeightDrop(nn.LSTM(3, 5), p=0.5)
    >>> y, (h, c) = layer(torch.ones(7, 2, 3))
    >>> y.shape
    torch.Size([7, 2, 5])

    Reference: Merity, Keskar & Socher, "Regularizing and optimizing LSTM language models" (2018).
    """

    _held = "rnn"

    def __init__(self, rnn: nn.RNNBase, p: float = 0.5) -> None:
        super().__init__()
        if not isinstance(rnn, nn.RNNBase):
            raise TypeError(
                f"rnn must be an nn.LSTM, nn.GRU or nn.RNN, got {type(rnn).__name__}; for layers "
                "with one weight use DropConnect"
            )
        self.rnn = rnn
        self.drop = Dropout(p)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the recurrent layer's output with its recurrent weights dropped."""
        if not self.drop.training:
            return self.rnn(*args, **kwargs)
        # The layer hands its kernel a list. A shallow copy with a list of its own leaves the
        # parameters, and every other thread that uses the layer, alone. It is not made by
        # copy.copy, which parametrized layers refuse.
        rnn: Any = object.__new__(type(self.rnn))
        vars(rnn).update(vars(self.rnn), _flat_weights=[*self.rnn._flat_weights])
        # Last, behind the hooks of weight_norm or pruning that compute weights.
        rnn._forward_pre_hooks = self.rnn._forward_pre_hooks.copy()
        rnn.register_forward_pre_hook(self._drop)
        return rnn(*args, **kwargs)

    def _drop(self, rnn: Any, args: Any) -> None:
        names = rnn._flat_weights_names
        weights = {name: getattr(rnn, name, None) for name in names}
        rnn._flat_weights = [
            self.drop(weight) if name.startswith("weight_hh") else weight
            for name, weight in weights.items()
        ]
        rnn._flat_weight_refs = [None] * len(names)  # or it would look its weights up again

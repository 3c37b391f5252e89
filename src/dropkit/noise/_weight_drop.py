"""Weight drop: drop weights of a recurrent layer, with one mask for a whole sequence."""

from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from dropkit.noise._called import Showing
from dropkit.noise._dropout import Dropout


class WeightDrop(Showing):
    """A recurrent layer with dropout on its hidden-to-hidden weights; each call draws one mask.

    ``h[t] = f(x[t], U ⊙ M, h[t − 1])``, where U are the hidden-to-hidden weights and M ∈ {0, 1/(1 −
    p)} for each weight, E M = 1. All time steps share M. In evaluation nothing is dropped. The mask
    is never written into the parameters, and the layer's fused kernel still runs. If
    ``weight_norm``, pruning or a parametrization computes the weights, the mask applies to the
    result.

    Args:
        rnn: an ``nn.LSTM``, ``nn.GRU`` or ``nn.RNN``; all of its layers and directions get dropout.
        p: probability of dropping a weight, in [0, 1]; to change p, set ``layer.drop.p``.

    Raises:
        TypeError: ``rnn`` has another type; or, at a call in training, quantization replaced it.
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
        """Apply the recurrent layer; in training, drop some of its hidden-to-hidden weights."""
        if not self.drop.training:
            return self.rnn(*args, **kwargs)
        if not isinstance(self.rnn, nn.RNNBase):
            kind = type(self.rnn)
            raise TypeError(
                f"the weights of {kind.__name__} of {kind.__module__} cannot be dropped; drop them "
                "before quantization, and call eval()"
            )
        # The layer passes a list of weights to its kernel. A shallow copy with its own list does
        # not affect the parameters or other threads. Parametrized layers do not support copy.copy.
        rnn: Any = object.__new__(self._kind())
        vars(rnn).update(vars(self.rnn), _flat_weights=[*self.rnn._flat_weights])
        # Run after the hooks of weight_norm or pruning, which compute weights.
        rnn._forward_pre_hooks = self.rnn._forward_pre_hooks.copy()
        rnn.register_forward_pre_hook(self._drop)
        return rnn(*args, **kwargs)

    def _drop(self, rnn: Any, args: Any) -> None:
        names = rnn._flat_weights_names
        held = {n: getattr(self.rnn if hasattr(type(self.rnn), n) else rnn, n, None) for n in names}
        weights = {n: self.drop(w) if n.startswith("weight_hh") else w for n, w in held.items()}
        rnn._flat_weights = [*weights.values()]
        rnn._flat_weight_refs = [None] * len(names)  # otherwise torch looks the weights up again
        # The forward pass of a subclass may read the weights by name.
        rnn._parameters = {name: weights.get(name, p) for name, p in rnn._parameters.items()}
        vars(rnn).update({n: w for n, w in weights.items() if n not in rnn._parameters})

    def _kind(self) -> type[nn.Module]:
        """Return the layer's class, without the properties of parametrized weights."""
        kind = type(self.rnn)
        return kind.__bases__[0] if is_parametrized(self.rnn) else kind

"""Targeted dropout: in training, drop the weights that pruning would remove."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dropkit.noise._affine import Affine, check_affine
from dropkit.noise._called import Around
from dropkit.noise._dropout import Dropout


class TargetedDropout(Around):
    """A layer that drops its smallest weights in training, so that they can be pruned afterwards.

    ``y = layer(x; W ⊙ M)``. For a targeted weight, M = 0 with probability p; otherwise M = 1. Each
    call draws one mask. Of the n weights of each output, the ⌊γ·n⌋ with the smallest magnitude are
    targeted. With ``units``, whole outputs are targeted: of all n outputs, the ⌊γ·n⌋ whose weights
    have the smallest norm. In evaluation the output is ``layer(x)``; ``pruned`` removes the
    targeted weights.

    Kept weights are not rescaled, because the layer must learn to work without the targeted ones. A
    weight gets no gradient while it is dropped; with p < 1 the weight can grow again in other
    steps.

    Args:
        layer: an ``nn.Linear`` or ``nn.Conv1d``, ``nn.Conv2d``, ``nn.Conv3d``; its bias is not
            dropped.
        p: probability of dropping a targeted weight or unit, in [0, 1]; to change p, set
            ``layer.drop.p``.
        gamma: share of the weights or units that are targeted, in [0, 1].
        units: whether to target whole outputs instead of single weights.

    Raises:
        TypeError: ``layer`` has another type.
        ValueError: p or gamma outside [0, 1]; a lazy weight.

    >>> layer = TargetedDropout(nn.Linear(8, 2), p=0.5, gamma=0.75)
    >>> layer(torch.ones(4, 8)).shape
    torch.Size([4, 2])
    >>> int((layer.pruned().weight == 0).sum())
    12

    Reference: Gomez, Zhang, Kamalakara, Madaan, Swersky, Gal & Hinton, "Learning sparse networks
    using targeted dropout" (2019). The paper's α is p here. Others report that the paper does
    not rescale kept weights, either.
    """

    layer: Affine

    def __init__(
        self, layer: Affine, p: float = 0.5, gamma: float = 0.5, *, units: bool = False
    ) -> None:
        check_affine(layer)
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(
                f"gamma must lie in [0, 1], got {gamma}; gamma is the share that is targeted"
            )
        super().__init__(layer)
        self.drop = Dropout(p)
        self.gamma = gamma
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output with some of the targeted weights dropped."""
        if not self.drop.training:
            return self.layer(x)  # type: ignore[no-any-return]
        targeted = self._find_targeted()
        dropped = self.drop(torch.ones_like(targeted, dtype=torch.float32)) == 0
        weight = self.layer.weight.masked_fill(targeted & dropped, 0)
        y: Tensor = functional_call(self.layer, {"weight": weight}, (x,))
        return y

    def pruned(self) -> nn.Module:
        """Return an ordinary copy of the layer, with zeros for all targeted weights."""
        layer = deepcopy(self.layer)
        with torch.no_grad():
            layer.weight.masked_fill_(self._find_targeted(), 0)
        return layer

    def _find_targeted(self) -> Tensor:
        """Return which weights are targeted, as a mask that broadcasts to the weight's shape."""
        weight = self.layer.weight.detach()
        rows = weight.flatten(1)
        size = rows.norm(dim=1) if self.units else rows.abs()
        # 0.29 · 100 is a little below 29 in floating point.
        count = int(size.shape[-1] * self.gamma + 1e-9)
        least = size.topk(count, largest=False).indices
        targeted = torch.zeros_like(size, dtype=torch.bool).scatter_(-1, least, True)
        shape = (-1, *[1] * (weight.dim() - 1)) if self.units else weight.shape
        return targeted.view(shape)

    def extra_repr(self) -> str:
        """Show what is targeted."""
        return f"gamma={self.gamma:g}, units={self.units}"

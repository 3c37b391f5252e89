"""Multi-sample dropout: apply one head with several masks in the same step."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dropkit.noise._base import HoldsNoise
from dropkit.noise._dropout import Dropout


class MultiSampleDropout(nn.Module, HoldsNoise):
    """Apply a head under several dropout masks of its input, and average the outputs or losses.

    ``y = 1/M · Σₘ head(x ⊙ maskₘ)``, mask ∈ {0, 1/(1 − p)}, E mask = 1; in evaluation ``y =
    head(x)``. As in the paper, ``loss`` does not average the M outputs, but their losses. The head
    runs once on all masks, as a batch M times as large. The layers before the head run once on the
    ordinary batch.

    Args:
        head: a module that maps (N, …) to (N, …) and treats every example independently. Batch
            normalization inside the head would compute its statistics over all masks.
        p: probability of dropping an input of the head, in [0, 1]; to change p, set
            ``layer.drop.p``.
        samples: number M of masks.

    Raises:
        ValueError: p outside [0, 1]; samples not a positive int.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    >>> head = MultiSampleDropout(nn.Linear(8, 3), p=0.5, samples=4)
    >>> x, target = torch.randn(16, 4), torch.arange(16) % 3
    >>> head.loss(model(x), target, nn.functional.cross_entropy).shape
    torch.Size([])
    >>> head(model(x)).shape
    torch.Size([16, 3])

    Reference: Inoue, "Multi-sample dropout for accelerated training and better generalization"
    (2019). For a linear head, averaging the outputs weakens dropout: the M masks act like one mask
    of variance p/(1 − p)/M. Averaging the losses keeps the variance of the masks and makes the
    gradient less noisy. In Monte-Carlo prediction (``sampling``, ``predict``) each call uses one
    mask, because a mean over masks would hide their variance.
    """

    def __init__(self, head: nn.Module, p: float = 0.5, *, samples: int = 8) -> None:
        super().__init__()
        if not isinstance(samples, int) or samples < 1:
            raise ValueError(f"samples must be an int, 1 or more, got {samples!r}")
        self.head = head
        self.drop = Dropout(p)
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of the head's outputs for ``x`` (N, …) over the masks."""
        return self.outputs(x).mean(0)

    def loss(
        self, x: Tensor, target: Tensor, criterion: Callable[[Tensor, Tensor], Tensor]
    ) -> Tensor:
        """Return the mean of ``criterion(output, target)`` over the masks."""
        return torch.stack([criterion(y, target) for y in self.outputs(x)]).mean(0)

    def outputs(self, x: Tensor) -> Tensor:
        """Return the outputs (M, N, …) under M masks; (1, N, …) without dropout."""
        count = self._masks()
        if not count:
            return self.head(x).unsqueeze(0)  # type: ignore[no-any-return]
        dropped: Tensor = self.drop(x.expand(count, *x.shape))
        return self.head(dropped.flatten(0, 1)).unflatten(0, (count, len(x)))  # type: ignore[no-any-return]

    def _masks(self) -> int:
        if not self.drop.training:
            return 0
        return self.samples if self.training else 1  # ``sampling`` switches on only self.drop

    def extra_repr(self) -> str:
        """Show the number of masks."""
        return f"samples={self.samples}"

"""The layers ``W x + b`` that the variants with a noise on weights or inputs wrap."""

from torch import nn

Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def check_affine(layer: nn.Module) -> None:
    """Raise ``TypeError`` if ``layer`` is no linear or convolutional layer with a weight."""
    if not isinstance(layer, Affine) or not isinstance(layer.weight, nn.Parameter):
        raise TypeError(
            "layer must be an nn.Linear, nn.Conv1d, nn.Conv2d or nn.Conv3d that holds its weight "
            f"as a parameter, got {type(layer).__name__}; wrap the layer itself, and remove "
            "parametrizations"
        )

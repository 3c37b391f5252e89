"""Check the layers ``W x + b`` that variants wrap to add noise to weights or inputs."""

from torch import nn
from torch.nn.parameter import is_lazy

Affine = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def check_initialized(layer: nn.Module) -> None:
    """Raise ``ValueError`` if the weight of ``layer`` has no shape yet, as in ``nn.LazyLinear``."""
    if is_lazy(layer.get_parameter("weight")):
        raise ValueError(
            f"the weight of {type(layer).__name__} must be initialized, but it is lazy; run the "
            "model once on an example"
        )


def check_affine(layer: nn.Module) -> None:
    """Raise an error unless ``layer`` is linear or convolutional with a weight parameter."""
    if not isinstance(layer, Affine) or not isinstance(layer.weight, nn.Parameter):
        raise TypeError(
            "layer must be an nn.Linear, nn.Conv1d, nn.Conv2d or nn.Conv3d that holds its weight "
            f"as a parameter, got {type(layer).__name__}; wrap the layer itself, and remove "
            "parametrizations"
        )
    check_initialized(layer)


def check_forward(layer: nn.Module) -> None:
    """Raise ``TypeError`` if a subclass of torch's layer changes the forward pass."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    torchs = any(isinstance(layer, k) and type(layer).forward is k.forward for k in kinds)
    if not torchs or "forward" in vars(layer):
        raise TypeError(
            "layer must have the forward pass of nn.Linear, nn.Conv1d, nn.Conv2d or nn.Conv3d, "
            f"W x + b, got {type(layer).__name__} with its own forward pass, which may use the "
            "weight differently; wrap an ordinary layer inside it"
        )

"""Build an example input for a model from its configuration or its layers."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._pytree import tree_map_only

from dropkit._copying import copy_model
from dropkit._inputs import arguments
from dropkit._mode import device_of

_ROWS, _LENGTH, _SIDE = 4, 8, 32


def build_example(model: nn.Module) -> Any:
    """Return a random input on which the model runs, or None if no candidate works.

    Models of ``transformers`` have the name of their input in ``main_input_name``, and the sizes in
    ``config``. Lightning modules may have an ``example_input_array``. Otherwise the first layer
    with weights determines the input: rows of features, images, or tokens.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for drawn in _candidates(model):
            example = tree_map_only(Tensor, partial(Tensor.to, device=device_of(model)), drawn)
            if _runs(model, example):
                return example
    return None


def _candidates(model: nn.Module) -> Iterator[Any]:
    given = getattr(model, "example_input_array", None)
    if given is not None:
        yield given
    name, config = getattr(model, "main_input_name", None), getattr(model, "config", None)
    if isinstance(name, str) and config is not None:
        yield from _by_config(name, config)
    layer = next((m for m in model.modules() if _takes_input(m)), None)
    if layer is not None:
        yield from _by_layer(layer)


def _takes_input(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | _ConvNd | nn.Embedding | nn.RNNBase)


def _by_config(name: str, config: Any) -> Iterator[dict[str, Tensor]]:
    size = getattr(config, "image_size", _SIDE)
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    features = getattr(config, "num_mel_bins", None) or getattr(
        config, "input_feat_per_channel", 80
    )
    kinds = {
        "input_ids": [_tokens(getattr(config, "vocab_size", 100))],
        "pixel_values": [torch.randn(_ROWS, getattr(config, "num_channels", 3), *sides)],
        "input_values": [torch.randn(_ROWS, length) for length in (1600, 16000)],
        "input_features": [
            torch.randn(_ROWS, *shape)
            for shape in ((features, 64), (64, features), (features, 3000))
        ],
    }
    for tensor in kinds.get(name, []):
        yield {name: tensor}
        yield {name: tensor, "decoder_input_ids": _tokens(getattr(config, "vocab_size", 100))}


def _by_layer(layer: Any) -> Iterator[Tensor]:
    if isinstance(layer, nn.Linear):
        yield torch.randn(_ROWS, layer.in_features)
        yield torch.randn(_ROWS, _LENGTH, layer.in_features)
    elif isinstance(layer, nn.RNNBase):
        yield torch.randn(_ROWS, _LENGTH, layer.input_size)
    elif isinstance(layer, nn.Embedding):
        yield _tokens(layer.num_embeddings)
    else:
        for side in (_SIDE, 2 * _SIDE, 224):
            yield torch.randn(_ROWS, layer.in_channels, *[side] * len(layer.kernel_size))


def _tokens(count: int) -> Tensor:
    return torch.randint(min(4, count - 1), count, (_ROWS, _LENGTH))


def _runs(model: nn.Module, example: Any) -> bool:
    try:
        args, kwargs = arguments(example, device_of(model))
        with torch.no_grad():
            copy_model(model).eval()(*args, **kwargs)
    except Exception:
        return False
    return True

"""Noise layers, one file per variant. Each one derives from ``Noise`` or contains such a layer."""

from dropkit.noise._alpha_dropout import AlphaDropout, FeatureAlphaDropout
from dropkit.noise._attention_dropout import AttentionDropout
from dropkit.noise._base import MultiplicativeNoise, Noise, RatedNoise
from dropkit.noise._channel_dropout import Dropout1d, Dropout2d, Dropout3d
from dropkit.noise._concrete_dropout import ConcreteDropout
from dropkit.noise._drop_block import DropBlock2d, DropBlock3d
from dropkit.noise._drop_connect import DropConnect
from dropkit.noise._drop_path import DropPath, StochasticDepth
from dropkit.noise._dropout import Dropout
from dropkit.noise._embedding_dropout import EmbeddingDropout
from dropkit.noise._gaussian_dropout import GaussianDropout
from dropkit.noise._gaussian_noise import GaussianNoise
from dropkit.noise._head_dropout import HeadDropout
from dropkit.noise._kl import kl_divergence
from dropkit.noise._layer_drop import LayerDrop
from dropkit.noise._locked_dropout import LockedDropout
from dropkit.noise._multi_sample_dropout import MultiSampleDropout
from dropkit.noise._patch_dropout import PatchDropout
from dropkit.noise._standout import Standout
from dropkit.noise._targeted_dropout import TargetedDropout
from dropkit.noise._variational_dropout import VariationalDropout
from dropkit.noise._weight_drop import WeightDrop
from dropkit.noise._word_dropout import WordDropout
from dropkit.noise._zoneout import Zoneout

__all__ = [
    "AlphaDropout",
    "AttentionDropout",
    "ConcreteDropout",
    "DropBlock2d",
    "DropBlock3d",
    "DropConnect",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "EmbeddingDropout",
    "FeatureAlphaDropout",
    "GaussianDropout",
    "GaussianNoise",
    "HeadDropout",
    "LayerDrop",
    "LockedDropout",
    "MultiSampleDropout",
    "MultiplicativeNoise",
    "Noise",
    "PatchDropout",
    "RatedNoise",
    "Standout",
    "StochasticDepth",
    "TargetedDropout",
    "VariationalDropout",
    "WeightDrop",
    "WordDropout",
    "Zoneout",
    "kl_divergence",
]

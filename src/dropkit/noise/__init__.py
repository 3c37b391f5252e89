"""Noise layers, one variant a file; every layer derives from ``Noise`` or holds one that does."""

from dropkit.noise._base import MultiplicativeNoise, Noise, RatedNoise
from dropkit.noise._kl import kl_divergence
from dropkit.noise.alpha_dropout import AlphaDropout, FeatureAlphaDropout
from dropkit.noise.attention_dropout import AttentionDropout
from dropkit.noise.channel_dropout import Dropout1d, Dropout2d, Dropout3d
from dropkit.noise.concrete_dropout import ConcreteDropout
from dropkit.noise.drop_block import DropBlock2d, DropBlock3d
from dropkit.noise.drop_connect import DropConnect
from dropkit.noise.drop_path import DropPath, StochasticDepth
from dropkit.noise.dropout import Dropout
from dropkit.noise.embedding_dropout import EmbeddingDropout
from dropkit.noise.gaussian_dropout import GaussianDropout
from dropkit.noise.gaussian_noise import GaussianNoise
from dropkit.noise.head_dropout import HeadDropout
from dropkit.noise.layer_drop import LayerDrop
from dropkit.noise.locked_dropout import LockedDropout
from dropkit.noise.multi_sample_dropout import MultiSampleDropout
from dropkit.noise.patch_dropout import PatchDropout
from dropkit.noise.standout import Standout
from dropkit.noise.targeted_dropout import TargetedDropout
from dropkit.noise.variational_dropout import VariationalDropout
from dropkit.noise.weight_drop import WeightDrop
from dropkit.noise.word_dropout import WordDropout
from dropkit.noise.zoneout import Zoneout

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

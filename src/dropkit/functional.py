"""The operations behind the layers, as functions."""

from dropkit.noise.alpha_dropout import alpha_dropout
from dropkit.noise.attention_dropout import scaled_dot_product_attention
from dropkit.noise.channel_dropout import channel_dropout
from dropkit.noise.drop_block import drop_block
from dropkit.noise.drop_path import drop_path
from dropkit.noise.dropout import dropout
from dropkit.noise.gaussian_dropout import gaussian_dropout
from dropkit.noise.gaussian_noise import gaussian_noise
from dropkit.noise.locked_dropout import locked_dropout
from dropkit.noise.patch_dropout import kept_patches, patch_dropout
from dropkit.noise.r_drop import forward_twice, r_drop_loss
from dropkit.noise.standout import standout
from dropkit.noise.word_dropout import word_dropout
from dropkit.noise.zoneout import zoneout

__all__ = [
    "alpha_dropout",
    "channel_dropout",
    "drop_block",
    "drop_path",
    "dropout",
    "forward_twice",
    "gaussian_dropout",
    "gaussian_noise",
    "kept_patches",
    "locked_dropout",
    "patch_dropout",
    "r_drop_loss",
    "scaled_dot_product_attention",
    "standout",
    "word_dropout",
    "zoneout",
]

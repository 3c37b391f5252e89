"""Dropout and its variants as functions."""

from dropkit.noise._alpha_dropout import alpha_dropout
from dropkit.noise._attention_dropout import scaled_dot_product_attention
from dropkit.noise._channel_dropout import channel_dropout
from dropkit.noise._drop_block import drop_block
from dropkit.noise._drop_path import drop_path
from dropkit.noise._dropout import dropout
from dropkit.noise._gaussian_dropout import gaussian_dropout
from dropkit.noise._gaussian_noise import gaussian_noise
from dropkit.noise._locked_dropout import locked_dropout
from dropkit.noise._patch_dropout import kept_patches, patch_dropout
from dropkit.noise._r_drop import forward_twice, r_drop_loss
from dropkit.noise._standout import standout
from dropkit.noise._word_dropout import word_dropout
from dropkit.noise._zoneout import zoneout

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

"""The mask engine: (seed, stream, element index, p) → keep or drop, equal on every device."""

from dropkit.random.dispatch import backend
from dropkit.random.mask import keep_mask
from dropkit.random.philox import philox4x32
from dropkit.random.ranks import set_data_parallel
from dropkit.random.seed import draw_seed

__all__ = ["backend", "draw_seed", "keep_mask", "philox4x32", "set_data_parallel"]

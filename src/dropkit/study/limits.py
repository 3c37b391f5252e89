"""Define limits of settings, with the reason for each."""

MOST = 100_000
"""The largest number of repetitions or trials; with more, two networks could share a seed."""

FEWEST = 2
"""The smallest number of rows per device: batch normalization cannot train on one row."""

DRAWN = 10
"""The number of first trials, which use default or random arguments and are never pruned."""

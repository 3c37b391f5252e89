"""Limits that settings must keep, and the reasons for them."""

MOST = 100_000
"""Repetitions and trials at most: beyond it, seeds of ensemble members would meet others."""

FEWEST = 2
"""Rows of each device at least: layers that normalize over a batch cannot train on one."""

DRAWN = 10
"""Trials of a method before its search goes by the results of others: none of these is pruned."""

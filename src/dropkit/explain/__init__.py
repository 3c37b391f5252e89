"""The introduction to dropout as one page that one can play with."""

from dropkit.explain._page import page, write

__all__ = ["page", "write"]

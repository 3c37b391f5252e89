"""An interactive introduction to dropout, as one HTML page."""

from dropkit.explain._page import page, write

__all__ = ["page", "write"]

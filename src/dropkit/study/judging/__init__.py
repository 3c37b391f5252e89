"""Read finished runs of any tool from a table of scores, and compare them."""

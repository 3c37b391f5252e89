"""How data are read, in a terminal and on a page."""

"""Show how data are read, in a terminal and on a page."""

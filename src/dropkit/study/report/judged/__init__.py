"""Report on finished runs from other tools, on one or several data sets."""

"""Reports on finished runs from other tools: of one data set, or of several."""

"""Finished runs from any tool: from a table of their scores to records that are analysed."""

"""Search the arguments of a method."""

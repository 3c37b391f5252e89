"""The search of a method's arguments."""

"""Callbacks of libraries' trainers, by which a `Trial` acts in them; each needs its library."""

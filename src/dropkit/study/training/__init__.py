"""Train and score one network of a study."""

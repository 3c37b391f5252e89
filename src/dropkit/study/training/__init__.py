"""A study's training: the network, its batches, its loop, its scores."""

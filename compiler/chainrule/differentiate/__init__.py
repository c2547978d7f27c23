"""Reverse mode, forward mode, batching and activity."""

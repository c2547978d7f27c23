"""Derivatives and batching as functions of traced functions."""

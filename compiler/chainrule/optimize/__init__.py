"""Rewrite rules that carry a promise, folding, stable forms."""

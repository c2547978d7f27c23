"""Layers, losses and initialisers, written with the public array functions."""

"""Optimizers and schedules, written with the public array functions."""

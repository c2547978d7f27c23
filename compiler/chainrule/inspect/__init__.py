"""The derivative for people: formulas, counts."""

"""chainrule: a function, its value and its derivatives as one native function."""

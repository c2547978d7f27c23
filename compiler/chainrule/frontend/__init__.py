"""Python to program: tracing, symbols, pytrees, the numpy namespace."""

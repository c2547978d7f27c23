"""What runs what was compiled: standard library and numpy only."""

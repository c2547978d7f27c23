"""The loop IR: nests of loops over buffers."""

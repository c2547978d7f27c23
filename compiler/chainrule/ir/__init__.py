"""The expression graph: dims, types, ops as records, interned nodes, programs."""

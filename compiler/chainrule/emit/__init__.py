"""Loop IR to LLVM IR: scalars, vector mathematics, contraction tiles, entry points."""

"""LLVM IR to running code: just-in-time, object files, linkers, targets."""

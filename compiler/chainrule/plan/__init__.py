"""Where intermediates live: lifetimes, one arena, in-place updates."""

"""What runs together and in what order: fusion groups, batch strips."""

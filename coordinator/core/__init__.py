"""What decides: pure, without IO, clock or logging."""

"""What must happen outside, taken from the outbox."""

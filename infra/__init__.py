"""The outside world, the doors, and what joins them."""

"""The outside world, one folder per system; adapters do not know each other."""

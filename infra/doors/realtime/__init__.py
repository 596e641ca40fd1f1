"""A realtime slot's parent process."""

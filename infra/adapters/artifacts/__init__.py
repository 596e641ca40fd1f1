"""Our own immutable files, named by their hash."""

"""Predicts label maps on an image's own grid, once or as a server."""

"""Data sets, their images and their labels."""

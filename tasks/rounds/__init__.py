"""Counting, starting, claiming, gathering and finishing rounds."""

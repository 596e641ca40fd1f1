"""Measurements, never asserted: `make bench`."""

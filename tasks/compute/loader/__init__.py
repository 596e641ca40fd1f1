"""Reads a MONAI bundle and builds from it what a request needs."""

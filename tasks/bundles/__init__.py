"""Unpack and register MONAI bundles."""

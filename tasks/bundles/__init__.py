"""Bundles: unpacked, examined, registered."""

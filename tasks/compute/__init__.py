"""Runs inside a bundle host: no adapter, no credentials."""

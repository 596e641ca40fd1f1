"""Runs inside a bundle host: `python -m tasks.compute`; no adapter, no secrets."""

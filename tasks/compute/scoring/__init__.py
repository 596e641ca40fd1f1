"""Computes per image how much it would teach."""

"""Starts bundle hosts and talks to them."""

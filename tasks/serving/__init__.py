"""Wanted and actual realtime slots."""

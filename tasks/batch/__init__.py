"""Predictions of many images at once, written where they were asked for."""

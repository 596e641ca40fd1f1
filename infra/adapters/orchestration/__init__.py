"""Prefect's client."""

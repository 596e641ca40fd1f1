"""Bundles of every shape that the model zoo has, as small as they can be: what a generic loader has to take in."""

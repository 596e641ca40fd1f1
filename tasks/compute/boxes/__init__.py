"""Boxes: where they lie, which a network finds, how well."""

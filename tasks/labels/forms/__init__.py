"""A label as a file: read onto its image's grid, and written as viewers and stores want it."""

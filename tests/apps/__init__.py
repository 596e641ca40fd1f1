"""Apps as people write them."""

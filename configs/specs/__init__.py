"""What we are asked to do, in our own words."""

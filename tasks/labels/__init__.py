"""Labels: checked, read, written."""

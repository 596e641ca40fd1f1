"""What a simulation came to: a table, CSV, a picture."""

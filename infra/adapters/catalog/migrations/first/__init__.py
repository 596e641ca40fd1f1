"""What the first migration creates, a module per topic as in `tables`. Never changed after a release."""

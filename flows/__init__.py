"""One module per deployment; each reads as its sentence."""

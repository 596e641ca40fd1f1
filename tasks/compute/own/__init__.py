"""Training by a bundle's own trainer, run as it is."""

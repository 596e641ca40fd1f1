"""Fine-tunes a bundle's network with Lightning."""

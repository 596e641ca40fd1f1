"""This host's cache of images, tensors and predictions."""

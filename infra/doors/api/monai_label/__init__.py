"""The MONAI Label dialect."""

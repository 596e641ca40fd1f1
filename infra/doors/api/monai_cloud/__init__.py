"""The MONAI Cloud API dialect."""

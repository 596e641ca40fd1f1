"""The gate, publishing and rolling back."""

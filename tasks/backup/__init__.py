"""All that an installation cannot make again, copied elsewhere and put back."""

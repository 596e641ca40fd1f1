"""Faults in full counts: `make soak [HOURS=…]`; tests/crash runs a few of each."""

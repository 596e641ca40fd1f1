"""Who computes on which device, and with how much of it."""

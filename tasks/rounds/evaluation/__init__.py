"""Which cases judge a model, what was measured on them, and what that says."""

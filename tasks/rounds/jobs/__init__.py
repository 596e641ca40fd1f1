"""Jobs come into being, take turns, are paused and cancelled; who may write for them."""

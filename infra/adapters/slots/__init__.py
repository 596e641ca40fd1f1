"""The client of a realtime slot."""

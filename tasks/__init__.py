"""The rules and the work, a folder per topic."""

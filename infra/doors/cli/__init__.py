"""The `teachback` command."""

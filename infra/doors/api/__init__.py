"""The HTTP API in its dialects."""

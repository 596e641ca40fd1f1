"""Labels come in: saved, notified or found at the source; checked, kept, and placed."""

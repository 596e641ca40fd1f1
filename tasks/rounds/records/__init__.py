"""What a round leaves behind: its snapshot, its result, and the same once more."""

"""What a job made: its files, and the place outside that they are also written to."""

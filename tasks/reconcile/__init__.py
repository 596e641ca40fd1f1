"""What repairs what was left behind."""

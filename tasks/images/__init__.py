"""From stored bytes to volumes in one voxel order."""

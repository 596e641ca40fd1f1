"""Segmentation by scribbles: how likely each voxel is inside by its value, and the cheapest cut between in and out."""

"""The part of the MONAI Label dialect that images and labels travel by, under `/label/{dataset}`."""

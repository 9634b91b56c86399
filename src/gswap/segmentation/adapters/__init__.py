"""One file per segmentation backend."""

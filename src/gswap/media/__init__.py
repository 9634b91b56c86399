"""Video, photos and image sequences, in and out."""

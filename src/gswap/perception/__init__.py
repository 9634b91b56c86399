"""Faces: detection, landmarks, choice of the person, identity, photo quality."""

"""Masks of head, neck and person, and the clean plate."""

"""One short file per step."""

"""One file per perception backend."""

"""Synthetic people whose truth is known."""

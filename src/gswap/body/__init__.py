"""Parametric bodies and their fit to landmarks."""

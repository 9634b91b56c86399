"""Comparators for evaluation."""

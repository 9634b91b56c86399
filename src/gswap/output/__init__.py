"""Consent, provenance, label, layers and report."""

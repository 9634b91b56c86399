"""The dynamic portrait: field, splat and rerenderer together, its fit and its drive."""

"""The image head swapper that needs no weights."""

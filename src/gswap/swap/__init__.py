"""The image head swap (Sec. III-B)."""

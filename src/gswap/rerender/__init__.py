"""Background encoder, fusion and rerenderer (Sec. III-C2)."""

"""The neural Gaussian field on the body's UV map (Sec. III-C1)."""

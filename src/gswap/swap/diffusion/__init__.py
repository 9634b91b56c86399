"""Image head swap with the paper's generator (Sec. III-B): Arc2Face tuned on the photos, ControlNet inpainting."""

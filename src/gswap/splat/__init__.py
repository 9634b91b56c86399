"""N-channel Gaussian splatting (eq. 8)."""

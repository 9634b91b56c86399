"""What `gswap bench` times."""

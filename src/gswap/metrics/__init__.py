"""How good a swap is: arrays in, numbers out."""

"""The C++ extension: splatting, posing, triangle rasterising. Knows nothing above arrays."""

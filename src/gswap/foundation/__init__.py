"""The shared vocabulary: types, protocols, errors, geometry, storage. Knows no stage."""

"""Files on disk, read as arrays."""

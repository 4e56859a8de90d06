"""Reading files on disk as arrays."""

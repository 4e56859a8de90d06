"""Data sets, the resumable loader and the data module."""

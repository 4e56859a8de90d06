"""Images too large for memory: prepared once on disk, then read as crops and windows."""

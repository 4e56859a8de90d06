"""Images too large for memory: prepared once on disk, cropped and windowed from there."""

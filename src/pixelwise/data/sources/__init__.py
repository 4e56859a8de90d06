"""Where images and labels come from: one module a layout on disk."""

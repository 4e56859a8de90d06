"""Images in, maps and tables out."""

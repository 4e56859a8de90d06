"""Data sets that are drawn, so that everything can be tried without a download."""

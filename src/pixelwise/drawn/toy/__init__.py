"""Drawn scenes with cats and dogs."""

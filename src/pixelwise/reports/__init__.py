"""Figures and HTML pages from the files of a run. Imports neither torch nor Lightning."""
